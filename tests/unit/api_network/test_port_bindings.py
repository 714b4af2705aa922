"""Bindings of ports on several hosts, as Neutron 29 answered the same requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.model.settings import HostEntry
from deuteron.rules.network import ports
from deuteron.store.network_tables import port_bindings
from tests.unit.api_hosts.test_views import Ears
from tests.unit.api_network.harness import BRIDGES, DEMO, HOST, ZERO, Answer, Client, cloud_in

FAR = "far"
HOSTS = {
    HOST: HostEntry(token="t", bridge_mappings=BRIDGES, tunnel_ip="192.0.2.1"),
    FAR: HostEntry(token="u", bridge_mappings=BRIDGES, tunnel_ip="192.0.2.2", roles=("compute",)),
}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with cloud_in(tmp_path, hosts=HOSTS) as made:
        yield made


@pytest.fixture
def path(client: Client) -> str:
    """Of the bindings of a guest's port that is plugged in on `HOST`."""
    port = client.port(
        client.network()["id"], "admin",
        **{"device_owner": "compute:nova", "device_id": "x", "binding:host_id": HOST, "project_id": DEMO},
    )  # fmt: skip
    return f"/v2.0/ports/{port['id']}/bindings"


def create(client: Client, path: str, user: str = "service", **values: Any) -> Answer:
    return client.call("POST", path, {"binding": {"host": FAR, **values}}, user)


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def states(client: Client, path: str, *names: str) -> list[tuple[str, ...]]:
    found = client.get(path, "service")["bindings"]
    return [tuple(each[name] for name in (names or ("host", "status", "vif_type"))) for each in found]


def test_a_port_has_one_active_binding_and_others_that_wait(client: Client, path: str) -> None:
    (active,) = client.get(path, "service")["bindings"]
    assert active.keys() == {"host", "vif_type", "vnic_type", "status", "profile", "vif_details"}
    assert "bound_drivers" not in active["vif_details"]
    made = create(client, path)
    assert (made.status, made.body["binding"]) == (201, {**active, "host": FAR, "status": "INACTIVE"})
    assert client.get(f"{path}/{FAR}", "service") == made.body
    assert states(client, path) == [(HOST, "ACTIVE", "ovs"), (FAR, "INACTIVE", "ovs")]
    assert said(create(client, path)) == said(create(client, path, host=HOST)) == (409, "PortBindingAlreadyExists")
    port = client.get(path.removesuffix("/bindings"))["port"]
    assert port["binding:host_id"] == HOST


def test_to_activate_one_moves_the_port(client: Client, path: str) -> None:
    create(client, path)
    ears = Ears(client.cloud, HOST, FAR)
    port_id = path.split("/")[3]

    def plugged() -> set[str]:
        ears.listen()
        return {host for host in (HOST, FAR) if port_id in ears.heard[host].ports}

    assert plugged() == {HOST}, "where it is inactive, nothing is done"
    answer = client.call("PUT", f"{path}/{FAR}/activate", user="service")
    assert (answer.status, answer.body["host"], answer.body["status"]) == (200, FAR, "ACTIVE")
    assert plugged() == {FAR}
    assert states(client, path) == [(HOST, "INACTIVE", "unbound"), (FAR, "ACTIVE", "ovs")]
    port = client.get(path.removesuffix("/bindings"))["port"]
    assert (port["binding:host_id"], port["binding:vif_type"], port["status"]) == (FAR, "ovs", "DOWN")
    assert said(client.call("PUT", f"{path}/{FAR}/activate", user="service")) == (409, "PortBindingAlreadyActive")
    assert client.call("PUT", f"{path}/{HOST}/activate", user="service").status == 200
    assert plugged() == {HOST} and len(states(client, path)) == 2
    client.delete(f"{path}/{FAR}", "service")
    assert states(client, path) == [(HOST, "ACTIVE", "ovs")]


def test_without_its_active_binding_a_port_is_plugged_in_nowhere(client: Client, path: str) -> None:
    create(client, path)
    client.delete(f"{path}/{HOST}", "service")
    nowhere = [("", "ACTIVE", "unbound"), (FAR, "INACTIVE", "ovs")]
    assert states(client, path) == nowhere
    port = client.get(path.removesuffix("/bindings"))["port"]
    assert (port["binding:host_id"], port["binding:vif_type"]) == ("", "unbound")
    assert client.call("PUT", f"{path}/{FAR}/activate", user="service").status == 200
    assert states(client, path) == [(FAR, "ACTIVE", "ovs")]
    create(client, path, host=HOST)
    client.delete(f"{path}/{HOST}", "service")
    create(client, path, host=HOST)
    client.put(path.removesuffix("/bindings"), {"port": {"binding:host_id": ""}})
    assert states(client, path, "host", "status") == [("", "ACTIVE"), (HOST, "INACTIVE")]


def test_a_host_has_one_binding_of_a_port_however_it_comes_there(client: Client, path: str) -> None:
    create(client, path)
    port = path.removesuffix("/bindings")
    client.put(port, {"port": {"binding:host_id": FAR}})
    assert states(client, path) == [(FAR, "ACTIVE", "ovs")]
    create(client, path, host=HOST)
    database, settings = client.cloud.database, client.cloud.settings
    database.write(lambda tx: ports.bind_port(tx, settings, port.split("/")[3], HOST))  # type: ignore[arg-type]  # an id
    assert states(client, path) == [(HOST, "ACTIVE", "ovs")]
    create(client, path)
    client.delete(port)
    with database.read() as tx:
        assert tx.all(port_bindings.select()) == []


def test_what_nobody_can_bind_is_refused_and_changes_nothing(client: Client, path: str) -> None:
    for values in ({"host": "nowhere"}, {"vnic_type": "direct"}):
        answer = create(client, path, **values)
        assert said(answer) == (400, "PortBindingError")
        assert "cannot bind port" in answer.error["message"]
    assert states(client, path) == [(HOST, "ACTIVE", "ovs")]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"binding": {}}, "Failed to parse request. Required attribute 'host' not specified"),
        ({"binding": {"host": "far", "status": "ACTIVE"}}, "Attribute 'status' not allowed in POST"),
        ({"binding": {"host": "far", "vif_type": "ovs"}}, "Attribute 'vif_type' not allowed in POST"),
        ({"binding": {"host": "far", "colour": 1}}, "Unrecognized attribute(s) 'colour'"),
        ({"bindings": [{"host": "far"}]}, "Bulk operation not supported"),
        ({"binding": {"host": "far", "vnic_type": "q"}}, "Invalid input for vnic_type."),
        ({"binding": {"host": "far", "profile": 5}}, "Invalid input for profile."),
        ({"binding": {"host": "far", "profile": {"x": 1}}}, "Invalid input for profile."),
        ({"binding": {"host": None}}, "Invalid input for host."),
        ({"binding": {"host": ""}}, "Invalid input for host."),
        ({"binding": {"host": ["far"]}}, "Invalid input for host."),
        ({"binding": {"host": "x" * 256}}, "Invalid input for host."),
        ({"binding": []}, "Body contains invalid data"),
        ([], "Body contains invalid data"),
    ],
)
def test_a_body_that_is_wrong_is_refused(client: Client, path: str, body: Any, words: str) -> None:
    answer = client.call("POST", path, body, "service")
    assert said(answer) == (400, "HTTPBadRequest")
    assert answer.error["message"].startswith(words)


def test_bindings_are_for_services_and_administrators_see_them(client: Client, path: str) -> None:
    create(client, path)
    for user in ("admin", "demo", "other"):
        assert said(create(client, path, user)) == (403, "PolicyNotAuthorized")
    asked = [("GET", f"{path}/{FAR}"), ("PUT", f"{path}/{FAR}/activate"), ("DELETE", f"{path}/{FAR}")]
    for user in ("demo", "reader", "manager"):
        assert client.get(path, user) == {"bindings": []}
        for method, one in asked:
            assert said(client.call(method, one, user=user)) == (404, "HTTPNotFound")
    for method, one in [("GET", path), *asked]:
        assert said(client.call(method, one, user="other")) == (404, "PortNotFound")
        away = client.call(method, one.replace(path.split("/")[3], ZERO), user="service")
        assert said(away) == (404, "PortNotFound")
    assert len(client.get(path, "admin")["bindings"]) == 2
    for method, one in asked[1:]:
        assert said(client.call(method, one, user="admin")) == (403, "PolicyNotAuthorized")
        nowhere = client.call(method, one.replace(FAR, "nowhere"), user="service")
        assert said(nowhere) == (404, "PortBindingNotFound")
    assert states(client, path) == [(HOST, "ACTIVE", "ovs"), (FAR, "INACTIVE", "ovs")]


def test_they_are_those_of_guests_ports(client: Client) -> None:
    plain = client.port(client.network()["id"])["id"]
    answer = client.call("GET", f"/v2.0/ports/{plain}/bindings", user="service")
    assert said(answer) == (400, "BadRequest")
    assert answer.error["message"] == (
        f"Bad port request: Invalid port {plain}. Operation only valid on compute and shared filesystem ports."
    )


def test_a_list_is_filtered_and_paged_as_neutron_does_it(client: Client, path: str) -> None:
    create(client, path)
    for query, found in (
        ("host=far", [FAR]), ("status=ACTIVE", [HOST]), ("vif_type=ovs", [HOST, FAR]), ("vnic_type=direct", []),
        ("limit=1", [HOST]), ("limit=1&marker=aio", [FAR]),
    ):  # fmt: skip
        answered = client.get(f"{path}?{query}", "service")
        assert [each["host"] for each in answered["bindings"]] == found, query
    assert client.get(f"{path}?fields=host", "service")["bindings"] == [{"host": HOST}, {"host": FAR}]
    assert client.get(f"{path}/{FAR}?fields=host&fields=status", "service")["binding"] == {
        "host": FAR, "status": "INACTIVE",
    }  # fmt: skip
    for query, words in (
        ("colour=1", "['colour'] is invalid attribute for filtering"),
        ("profile=x", "['profile'] is invalid attribute for filtering"),
        ("sort_key=host&sort_dir=desc", "['host'] is invalid attribute for sort_keys"),
    ):
        answer = client.call("GET", f"{path}?{query}", user="service")
        assert (answer.status, answer.error["message"]) == (400, words)


def test_a_body_is_looked_at_before_who_asks_and_the_kind_of_port_before_both(client: Client, path: str) -> None:
    for body in (None, {}, {"bindings": [{"host": FAR}]}, {"binding": {}}):
        assert said(client.call("POST", path, body, "demo")) == (400, "HTTPBadRequest")
    assert said(create(client, path, "demo")) == (403, "PolicyNotAuthorized")
    plain = client.port(client.network()["id"])["id"]
    for method, one in (("GET", HOST), ("DELETE", HOST), ("PUT", f"{HOST}/activate")):
        assert said(client.call(method, f"{path}/{one}", None, "reader")) == (404, "HTTPNotFound")
        assert said(client.call(method, f"/v2.0/ports/{plain}/bindings/{one}", None, "reader")) == (400, "BadRequest")
