"""Trunks and their subports, as Neutron 29 answered the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from deuteron.hub import reports
from deuteron.hub.projections import PROJECTIONS
from deuteron.hub.projections.contract import OnHost, Reading, Touched
from deuteron.model.intent import IntentPort, PortReport, PortTrunk, Report
from deuteron.model.network.trunks import MAX_SUBPORTS
from deuteron.rules.network import devices
from deuteron.store.database import Change, Tx
from tests.unit.api_network.harness import DEMO, HOST, OTHER, ZERO, Answer, Client

TRUNKS = "/v2.0/trunks"


def trunk(client: Client, port_id: str, *subports: tuple[str, int], user: str = "demo", **values: Any) -> Any:
    body = {"port_id": port_id, "sub_ports": [sub(*each) for each in subports], **values}
    return client.post(TRUNKS, {"trunk": body}, user)["trunk"]


def sub(port_id: str, tag: Any = 5, kind: Any = "vlan") -> dict[str, Any]:
    return {"port_id": port_id, "segmentation_type": kind, "segmentation_id": tag}


def act(client: Client, verb: str, trunk_id: str, subports: Any, user: str = "demo") -> Answer:
    return client.call("PUT", f"{TRUNKS}/{trunk_id}/{verb}", {"sub_ports": subports}, user)


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def plugged(client: Client, port_id: str, host: str = HOST) -> Any:
    body = {"port": {"binding:host_id": host, "device_id": "vm", "device_owner": "compute:nova"}}
    return client.put(f"/v2.0/ports/{port_id}", body)["port"]


def report(client: Client, **statuses: str) -> None:
    """What the host says of ports, by id with underscores."""
    told = tuple(PortReport(id.replace("_", "-"), status) for id, status in statuses.items())  # type: ignore[arg-type]
    client.cloud.database.write(lambda tx: reports.apply(tx, client.cloud.settings, HOST, Report(-1, ports=told)))


def by_id(*ports: str, status: str = "ACTIVE") -> dict[str, str]:
    return {port_id.replace("-", "_"): status for port_id in ports}


@pytest.fixture
def ports(client: Client) -> list[str]:
    network = client.network()["id"]
    return [client.port(network)["id"] for _ in range(5)]


def test_a_trunk_shows_its_ports_and_its_parent_shows_it(client: Client, ports: list[str]) -> None:
    parent, first, second, *_ = ports
    made = trunk(client, parent, (first, 7), (second, 8), name="t", description="d")
    assert made == {
        "id": made["id"], "name": "t", "description": "d", "port_id": parent, "status": "DOWN", "admin_state_up": True,
        "sub_ports": [sub(first, 7), sub(second, 8)], "project_id": DEMO, "tenant_id": DEMO, "tags": [],
        "created_at": made["created_at"], "updated_at": made["updated_at"], "revision_number": 0,
    }  # fmt: skip
    mac = client.get(f"/v2.0/ports/{first}")["port"]["mac_address"]
    details = client.get(f"/v2.0/ports/{parent}", "reader")["port"]["trunk_details"]
    assert details["trunk_id"] == made["id"]
    assert details["sub_ports"][0] == {**sub(first, 7), "mac_address": mac}
    listed = {each["id"]: each for each in client.get("/v2.0/ports?fields=id&fields=trunk_details")["ports"]}
    assert listed[parent]["trunk_details"] == details
    assert listed[first] == {"id": first}, "only a parent has details"
    assert "trunk_details" not in client.get(f"/v2.0/ports/{first}")["port"]
    assert client.get(f"{TRUNKS}/{made['id']}/get_subports", "reader") == {"sub_ports": [sub(first, 7), sub(second, 8)]}
    for query in ("sub_ports=x", "sort_key=sub_ports"):
        assert said(client.call("GET", f"{TRUNKS}?{query}")) == (400, "HTTPBadRequest")
    for query in ("trunk_details=x", "sort_key=trunk_details"):
        assert said(client.call("GET", f"/v2.0/ports?{query}")) == (400, "HTTPBadRequest")
    other = trunk(client, ports[3], name="u", admin_state_up=False)["id"]
    client.put(f"{TRUNKS}/{other}/tags", {"tags": ["x"]}, "demo")
    for query, wanted in (
        ("name=t", [made["id"]]), (f"port_id={parent}", [made["id"]]), ("admin_state_up=false", [other]),
        ("status=DOWN&sort_key=name&sort_dir=desc", [other, made["id"]]), ("description=d", [made["id"]]),
        ("tags=x", [other]),
    ):  # fmt: skip
        assert [each["id"] for each in client.get(f"{TRUNKS}?fields=id&{query}", "demo")["trunks"]] == wanted, query


@pytest.mark.parametrize(
    ("subport", "type_", "words"),
    [
        ({}, "HTTPBadRequest", "A valid port UUID must be specified"),
        (5, "HTTPBadRequest", "Invalid data format for subport: '5' is not a dict"),
        ({"port_id": "x"}, "HTTPBadRequest", "Invalid UUID for subport: 'x'"),
        ({"port_id": "", "segmentation_id": 5}, "HTTPBadRequest", "missing segmentation information"),
        ({"port_id": "", "segmentation_type": "vlan"}, "HTTPBadRequest", "missing segmentation information"),
        ({"port_id": ""}, "InvalidInput", "missing segmentation information"),
        (sub("", 0), "InvalidInput", "Segmentation ID '0' is not in range"),
        (sub("", 4095), "InvalidInput", "Segmentation ID '4095' is not in range"),
        (sub("", "x"), "InvalidInput", "segmentation_id 'x' is not an integer"),
        (sub("", [5]), "InvalidInput", "segmentation_id '[5]' is not an integer"),
        (sub("", 5, "vxlan"), "InvalidInput", "Unknown segmentation_type 'vxlan'"),
        (sub("", 5, ["vlan"]), "InvalidInput", "Unknown segmentation_type '['vlan']'"),
        ({"port_id": "", "segmentation_type": "inherit"}, "InvalidInput", "Unknown segmentation_type 'vxlan'"),
        ({**sub(""), "colour": "red"}, "HTTPBadRequest", "Unexpected keys supplied: colour"),
    ],
)  # fmt: skip
def test_a_subport_that_says_too_little_or_too_much_is_refused(
    client: Client, ports: list[str], subport: Any, type_: str, words: str
) -> None:
    if isinstance(subport, dict) and subport.get("port_id") == "":
        subport = {**subport, "port_id": ports[1]}
    refused = client.call("POST", TRUNKS, {"trunk": {"port_id": ports[0], "sub_ports": [subport]}}, "demo")
    assert said(refused) == (400, type_) and words in refused.error["message"]
    mine = trunk(client, ports[0])["id"]
    again = act(client, "add_subports", mine, [subport])
    assert said(again) == (400, "InvalidInput") and words in again.error["message"]
    assert client.get(f"{TRUNKS}/{mine}")["trunk"]["sub_ports"] == []


def test_ports_and_tags_are_in_a_trunk_once(client: Client, ports: list[str]) -> None:
    parent, first, second, third, free = ports
    mine = trunk(client, parent, (first, 5))["id"]

    def made(port_id: str, *subports: Any) -> tuple[int, str]:
        return said(client.call("POST", TRUNKS, {"trunk": {"port_id": port_id, "sub_ports": list(subports)}}, "demo"))

    assert made(parent) == made(free, sub(free)) == made(free, sub(parent)) == (409, "ParentPortInUse")
    assert made(first) == made(free, sub(first)) == (409, "TrunkPortInUse")
    assert made(ZERO) == made(free, sub(ZERO)) == (404, "PortNotFound")
    assert made(free, sub(second), sub(second, 6)) == (400, "HTTPBadRequest")
    assert made(free, sub(second), sub(third)) == (400, "HTTPBadRequest")
    assert made(free, sub(second), sub(third, "5")) == (409, "DuplicateSubPort"), "the same in other words"
    assert said(act(client, "add_subports", mine, [sub(second, 5)])) == (409, "DuplicateSubPort")
    used = client.port(client.network()["id"], device_id="somebody")["id"]
    assert made(free, sub(used)) == (409, "PortInUse")
    large = client.port(client.network(mtu=1450)["id"])["id"]
    small = client.port(client.network(mtu=1400)["id"])["id"]
    assert made(small, sub(large)) == (409, "SubPortMtuGreaterThanTrunkPortMtu")
    trunk(client, large, (small, 5))
    assert len(client.get(TRUNKS)["trunks"]) == 2


def test_a_subport_may_take_the_tag_of_its_network(client: Client, ports: list[str]) -> None:
    vlan = {"provider:network_type": "vlan", "provider:physical_network": "physnet1", "mtu": 1400, "shared": True}
    network = client.network("admin", **vlan, **{"provider:segmentation_id": 1005})["id"]
    inherited = {"port_id": client.port(network)["id"], "segmentation_type": "inherit"}
    mine = trunk(client, ports[0])["id"]
    answer = act(client, "add_subports", mine, [inherited])
    assert answer.status == 200 and answer.body["sub_ports"] == [sub(inherited["port_id"], 1005)]


def test_subports_come_and_go_all_or_none(client: Client, ports: list[str]) -> None:
    parent, first, second, third, _ = ports
    mine = trunk(client, parent, (first, 5))["id"]
    added = act(client, "add_subports", mine, [sub(second, "6")])
    assert added.status == 200 and added.body["sub_ports"] == [sub(first), sub(second, 6)], "not under its name"
    assert added.body["revision_number"] == 0, "as Neutron counts"
    assert said(act(client, "add_subports", mine, [sub(third, 7), sub(ZERO, 8)])) == (404, "PortNotFound")
    assert said(act(client, "remove_subports", mine, [{"port_id": first}, {"port_id": ZERO}])) == (
        404,
        "SubPortNotFound",
    )
    assert client.get(f"{TRUNKS}/{mine}/get_subports")["sub_ports"] == [sub(first), sub(second, 6)]
    left = act(client, "remove_subports", mine, [{"port_id": first}])
    assert left.body["sub_ports"] == [sub(second, 6)]
    assert trunk(client, third, (first, 5))["sub_ports"] == [sub(first)], "it is free again"
    for body in ({}, [], b"", b"x", {"sub_ports": [], "colour": "red"}, {"trunk": {"sub_ports": []}}):
        for verb in ("add_subports", "remove_subports"):
            assert said(client.call("PUT", f"{TRUNKS}/{mine}/{verb}", body)) == (400, "HTTPBadRequest")
    for subports in (None, "x", {}, [5], [{}]):
        for verb in ("add_subports", "remove_subports"):
            assert said(act(client, verb, mine, subports)) == (400, "InvalidInput")


def test_a_trunk_has_so_many_subports_at_most(client: Client) -> None:
    network = client.network()["id"]
    names = [client.port(network)["id"] for _ in range(MAX_SUBPORTS + 2)]
    mine = trunk(client, names[0], *((port_id, tag) for tag, port_id in enumerate(names[1:-1], 1)))["id"]
    refused = act(client, "add_subports", mine, [sub(names[-1], 4000)])
    assert said(refused) == (400, "InvalidInput") and f"at most {MAX_SUBPORTS}" in refused.error["message"]
    plugged(client, names[0])
    assert client.get(f"/v2.0/ports/{names[-2]}")["port"]["binding:host_id"] == HOST


def test_a_disabled_trunk_is_not_changed(client: Client, ports: list[str]) -> None:
    mine = trunk(client, ports[0], (ports[1], 5), admin_state_up=False)["id"]
    for refused in (
        act(client, "add_subports", mine, [sub(ports[2], 6)]),
        act(client, "remove_subports", mine, [{"port_id": ports[1]}]),
        client.call("DELETE", f"{TRUNKS}/{mine}"),
    ):
        assert said(refused) == (409, "TrunkDisabled")
    shown = client.put(f"{TRUNKS}/{mine}", {"trunk": {"admin_state_up": True, "name": "n"}}, "demo")["trunk"]
    assert (shown["name"], shown["admin_state_up"], shown["revision_number"]) == ("n", True, 1)
    for name, value in (("port_id", ports[3]), ("sub_ports", []), ("status", "ACTIVE")):
        assert said(client.call("PUT", f"{TRUNKS}/{mine}", {"trunk": {name: value}})) == (400, "HTTPBadRequest")
    client.delete(f"{TRUNKS}/{mine}", "demo")
    client.delete(f"/v2.0/ports/{ports[0]}")


def test_ports_in_a_trunk_are_not_deleted(client: Client, ports: list[str]) -> None:
    parent, first, *_ = ports
    mine = trunk(client, parent, (first, 5))["id"]
    for port_id, type_, word in (
        (parent, "PortInUseAsTrunkParent", "a parent port"),
        (first, "PortInUseAsSubPort", "a subport"),
    ):
        refused = client.call("DELETE", f"/v2.0/ports/{port_id}")
        assert said(refused) == (409, type_)
        assert refused.error["message"] == f"Port {port_id} is currently {word} for trunk {mine}."
    client.delete(f"{TRUNKS}/{mine}")
    for port_id in (parent, first):
        client.delete(f"/v2.0/ports/{port_id}")


def test_an_interface_of_a_router_stays_while_it_is_in_a_trunk(client: Client) -> None:
    network = client.network()["id"]
    client.subnet(network, "10.0.0.0/24")
    router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
    port = client.port(network)["id"]
    trunk(client, port)
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"port_id": port}, "demo")
    answer = client.call("PUT", f"/v2.0/routers/{router}/remove_router_interface", {"port_id": port}, "demo")
    assert said(answer) == (409, "PortInUseAsTrunkParent")
    assert client.get(f"/v2.0/ports/{port}")["port"]["device_id"] == router


def test_who_may(client: Client, ports: list[str]) -> None:
    mine = trunk(client, ports[0])["id"]
    path = f"{TRUNKS}/{mine}"
    assert client.get(TRUNKS, "other") == {"trunks": []}
    for verb, where, body in (
        ("GET", path, None), ("PUT", path, {"trunk": {"name": "x"}}), ("DELETE", path, None),
        ("GET", f"{path}/get_subports", None), ("PUT", f"{path}/add_subports", {"sub_ports": []}),
        ("PUT", f"{path}/remove_subports", {"sub_ports": []}),
    ):  # fmt: skip
        assert said(client.call(verb, where, body, "other")) == (404, "TrunkNotFound")
        if verb != "GET":
            assert said(client.call(verb, where, body, "reader")) == (403, "PolicyNotAuthorized")
    body = {"trunk": {"port_id": ports[1]}}
    assert said(client.call("POST", TRUNKS, body, "reader")) == (403, "PolicyNotAuthorized")
    assert said(client.call("POST", TRUNKS, body, "other")) == (404, "PortNotFound")
    # Not even on the network's owner's word: the port is another project's to plug.
    shared = client.network("admin", shared=True)["id"]
    theirs = client.port(shared, "other")["id"]
    for wanted in ({"port_id": theirs}, {"port_id": ports[1], "sub_ports": [sub(theirs)]}):
        assert said(client.call("POST", TRUNKS, {"trunk": wanted}, "demo")) == (404, "PortNotFound")
    assert trunk(client, theirs, user="admin", project_id=OTHER)["project_id"] == OTHER


def test_a_project_has_so_many_trunks_as_its_quota_says(client: Client, ports: list[str]) -> None:
    assert client.get(f"/v2.0/quotas/{DEMO}")["quota"]["trunk"] == -1
    client.put(f"/v2.0/quotas/{DEMO}", {"quota": {"trunk": 1}})
    first = trunk(client, ports[0])["id"]
    refused = client.call("POST", TRUNKS, {"trunk": {"port_id": ports[1]}}, "demo")
    assert said(refused) == (409, "OverQuota") and "['trunk']" in refused.error["message"]
    client.delete(f"{TRUNKS}/{first}")
    trunk(client, ports[1])


def test_subports_are_plugged_where_their_parent_is(client: Client, ports: list[str]) -> None:
    parent, first, second, bound, _ = ports
    mine = trunk(client, parent, (first, 5))["id"]
    details = plugged(client, parent)["binding:vif_details"]
    assert details["bridge_name"] == f"tbr-{mine}"[:14]
    shown = client.get(f"/v2.0/ports/{first}")["port"]
    assert (shown["binding:host_id"], shown["binding:vif_type"], shown["device_owner"], shown["device_id"]) == (
        HOST, "ovs", "trunk:subport", "",
    )  # fmt: skip
    assert shown["binding:vif_details"]["bridge_name"] == "br-int"
    assert act(client, "add_subports", mine, [sub(second, 6)]).body["status"] == "DOWN"
    assert client.get(f"/v2.0/ports/{second}")["port"]["binding:host_id"] == HOST

    for refused in (
        client.call("PUT", f"/v2.0/ports/{first}", {"port": {"binding:host_id": ""}}),
        client.call("PUT", f"/v2.0/ports/{first}", {"port": {"binding:host_id": "elsewhere"}}),
    ):
        assert said(refused) == (409, "PortInUseAsSubPort")
    assert said(client.call("DELETE", f"{TRUNKS}/{mine}")) == (409, "TrunkInUse")
    plugged(client, bound)
    assert said(client.call("POST", TRUNKS, {"trunk": {"port_id": bound}})) == (409, "ParentPortInUse")
    assert client.cloud.database.write(lambda tx: devices.is_subport(tx, first))  # type: ignore[arg-type]

    assert act(client, "remove_subports", mine, [{"port_id": second}]).status == 200
    assert client.get(f"/v2.0/ports/{second}")["port"]["binding:vif_type"] == "unbound"
    client.put(f"/v2.0/ports/{parent}", {"port": {"binding:host_id": ""}})
    assert client.get(f"/v2.0/ports/{first}")["port"]["binding:vif_type"] == "unbound"
    assert client.get(f"{TRUNKS}/{mine}")["trunk"]["status"] == "DOWN"
    client.delete(f"{TRUNKS}/{mine}")
    plugged(client, first)
    assert client.get(f"/v2.0/ports/{first}")["port"]["binding:vif_details"]["bridge_name"] == "br-int"


def test_the_trunk_is_what_its_host_says_of_its_ports(client: Client, ports: list[str]) -> None:
    parent, first, second, *_ = ports
    mine = trunk(client, parent, (first, 5))["id"]

    def status() -> str:
        return str(client.get(f"{TRUNKS}/{mine}")["trunk"]["status"])

    assert status() == "DOWN"
    plugged(client, parent)
    assert status() == "BUILD"
    report(client, **by_id(parent))
    assert status() == "BUILD", "the subport is not wired yet"
    report(client, **by_id(first))
    assert status() == "ACTIVE"
    report(client, **by_id(first, status="ERROR"))
    assert status() == "DEGRADED"
    report(client, **by_id(first))
    assert status() == "ACTIVE"
    report(client, **by_id(parent, status="ERROR"))
    assert status() == "ERROR"
    assert said(act(client, "add_subports", mine, [sub(second, 6)])) == (409, "TrunkInErrorState")
    assert act(client, "remove_subports", mine, [{"port_id": first}]).body["status"] == "DOWN"
    report(client, **by_id(parent))
    assert status() == "ACTIVE"
    client.put(f"/v2.0/ports/{second}", {"port": {"admin_state_up": False}})
    act(client, "add_subports", mine, [sub(second, 6)])
    report(client, **by_id(second, status="DOWN"))
    assert status() == "ACTIVE", "what is meant to be down is as it should be"


def test_a_subport_that_cannot_be_bound_is_an_error_of_the_trunk(client: Client, ports: list[str]) -> None:
    parent, first, *_ = ports
    direct = client.port(client.network()["id"], **{"binding:vnic_type": "direct"})["id"]
    mine = trunk(client, parent, (direct, 5), (first, 6))["id"]
    plugged(client, parent)
    assert client.get(f"{TRUNKS}/{mine}")["trunk"]["status"] == "ERROR"
    report(client, **by_id(parent, first))
    assert client.get(f"{TRUNKS}/{mine}")["trunk"]["status"] == "ERROR"
    act(client, "remove_subports", mine, [{"port_id": direct}])
    report(client, **by_id(parent))
    assert client.get(f"{TRUNKS}/{mine}")["trunk"]["status"] == "ACTIVE"


def test_a_host_hears_of_the_trunk_with_its_ports(client: Client, ports: list[str]) -> None:
    parent, first, second, *_ = ports
    mine = trunk(client, parent, (first, 5))["id"]
    plugged(client, parent)
    projection = PROJECTIONS["port"]
    assert isinstance(projection, OnHost)

    def sent(tx: Tx) -> dict[str, IntentPort]:
        places = [(HOST, port_id) for port_id in (parent, first)]
        built = projection.build(Reading(tx, client.cloud.settings), places)
        return {made.item.id: made.item for _, made in built if isinstance(made.item, IntentPort)}

    heard = client.cloud.database.write(sent)
    assert heard[parent].trunk == PortTrunk(mine, parent, 0, (first,))
    assert heard[first].trunk == PortTrunk(mine, parent, 5)
    act(client, "add_subports", mine, [sub(second, 6)])
    assert client.cloud.database.write(sent)[parent].trunk == PortTrunk(mine, parent, 0, tuple(sorted((first, second))))
    touched = client.cloud.database.write(lambda tx: projection.dirty(Touched(tx, [Change("trunk", mine, False)])))
    assert touched == {parent}
