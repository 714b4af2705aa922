"""Names of ports, as Neutron 29 keeps and shows them with its extension drivers for DNS and no driver for a service
outside: with a domain of the cloud's own, and with the default one, where names are taken and not kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.model.settings import NetworkOptions, Operator
from tests.unit.api_network.harness import Answer, Client, cloud_in

DOMAIN = "cloud.example."
PORT, NETWORK, FLOATINGIP = "/v2.0/ports", "/v2.0/networks", "/v2.0/floatingips"


@pytest.fixture(params=[DOMAIN, DOMAIN[:-1]])
def named(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """A cloud whose operator set the domain, with a dot at its end or without."""
    folder = tmp_path / "named"
    folder.mkdir()
    with cloud_in(folder, operator=Operator(network=NetworkOptions(dns_domain=request.param))) as client:
        yield client


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def subnet(client: Client) -> dict[str, Any]:
    """The keys of a port of a network with a subnet."""
    network = client.network()["id"]
    client.subnet(network, "10.0.0.0/24")
    return {"network_id": network}


def listed(client: Client, port: Any) -> Any:
    """The port, as a list shows it."""
    (found,) = client.get(f"{PORT}?id={port['id']}")["ports"]
    return found


def names(port: Any) -> tuple[str, list[tuple[str, str, str]]]:
    return port["dns_name"], [(one["ip_address"], one["hostname"], one["fqdn"]) for one in port["dns_assignment"]]


def test_a_port_has_a_name_at_each_of_its_addresses(named: Client) -> None:
    place = subnet(named)
    named.subnet(place["network_id"], "fd00::/64")
    port = named.port(**place, dns_name="Web", fixed_ips=[{"ip_address": "10.0.0.5"}, {"ip_address": "fd00::5"}])
    assert names(port) == (
        "web",
        [("10.0.0.5", "web", f"web.{DOMAIN}"), ("fd00::5", "web", f"web.{DOMAIN}")],
    )
    path = f"{PORT}/{port['id']}"
    for same in (named.get(path, "reader")["port"], listed(named, port)):
        assert names(same) == names(port)
    assert named.get(f"{PORT}?fields=dns_assignment&id={port['id']}")["ports"] == [
        {"dns_assignment": port["dns_assignment"]}
    ]
    bare = named.put(path, {"port": {"dns_name": ""}}, "demo")["port"]
    assert names(bare) == (
        "",
        [
            ("10.0.0.5", "host-10-0-0-5", f"host-10-0-0-5.{DOMAIN}"),
            ("fd00::5", "host-fd00--5", f"host-fd00--5.{DOMAIN}"),
        ],
    )
    assert bare["revision_number"] == port["revision_number"] + 1
    assert names(listed(named, port)) == names(bare)
    moved = named.put(path, {"port": {"dns_name": "db", "fixed_ips": [{"ip_address": "10.0.0.9"}]}})["port"]
    assert names(moved) == ("db", [("10.0.0.9", "db", f"db.{DOMAIN}")])
    assert names(named.put(path, {"port": {"fixed_ips": []}})["port"]) == ("db", [])
    assert listed(named, port)["dns_assignment"] == []


def test_a_name_may_have_several_labels_and_the_domain_behind_them(named: Client) -> None:
    place = subnet(named)
    for name, whole in (
        ("a.b", f"a.b.{DOMAIN}"),
        ("cloud.example", f"cloud.example.{DOMAIN}"),
        (f"a.{DOMAIN}", f"a.{DOMAIN}"),
        ("x" * 63, f"{'x' * 63}.{DOMAIN}"),
        ("7", f"7.{DOMAIN}"),
        ("<project_id>", f"<project_id>.{DOMAIN}"),
    ):
        shown, ((_, host, found),) = names(named.port(**place, dns_name=name))
        assert (shown, host, found) == (name, name, whole)


_FORM = "'{}' not a valid PQDN or FQDN. Reason: "
_LETTERS = "Name '{}' must be 1-63 characters long, each of which can only be alphanumeric or a hyphen"
WRONG = [
    ("a_b", _FORM.format("a_b") + _LETTERS.format("a_b")),
    ("a b", _FORM.format("a b") + _LETTERS.format("a b")),
    ("é", _FORM.format("é") + _LETTERS.format("é")),
    ("a\n", _FORM.format("a\n") + _LETTERS.format("a\n")),  # which Neutron takes
    ("<project>", _FORM.format("<project>") + _LETTERS.format("<project>")),
    ("x" * 64, _FORM.format("x" * 64) + _LETTERS.format("x" * 64)),
    ("-a", _FORM.format("-a") + "Name '-a' must not start or end with a hyphen"),
    ("a-.b", _FORM.format("a-.b") + "Name 'a-' must not start or end with a hyphen"),
    ("a..b", _FORM.format("a..b") + "Encountered an empty component"),
    ("a.1", _FORM.format("a.1") + "TLD '1' must not be all numeric"),
]
LONG = ".".join(["x" * 60] * 4)


@pytest.mark.parametrize(("name", "reason"), WRONG, ids=[repr(name) for name, _ in WRONG])
def test_what_is_no_name_is_refused_with_and_without_a_domain_of_the_clouds(
    client: Client, named: Client, name: str, reason: str
) -> None:
    for each in (client, named):
        network = each.network()["id"]
        port = each.port(network)["id"]
        for answer in (
            each.call("POST", PORT, {"port": {"network_id": network, "dns_name": name}}),
            each.call("PUT", f"{PORT}/{port}", {"port": {"dns_name": name}}),
        ):
            assert said(answer) == (400, "HTTPBadRequest")
            assert answer.error["message"] == f"Invalid input for dns_name. Reason: {reason}."


def test_a_name_fits_together_with_the_domain(client: Client, named: Client) -> None:
    network = named.network()["id"]
    for name, reason in (
        (LONG, "The dns_name passed is a PQDN and its size is '243'."),
        ("a.elsewhere.", "The dns_name passed is a FQDN. Its higher level labels must be equal to the dns_domain"),
        (DOMAIN, "The dns_name passed is a FQDN."),
        (f"a{DOMAIN}", "The dns_name passed is a FQDN."),
    ):
        answer = named.call("POST", PORT, {"port": {"network_id": network, "dns_name": name}})
        assert said(answer) == (400, "HTTPBadRequest")
        assert answer.error["message"].startswith(f"Invalid input for dns_name. Reason: {reason}")
    room = LONG[: 255 - len(DOMAIN) - 1]
    assert names(named.port(network, dns_name=room)) == (room, [])
    for name in (LONG, "a.elsewhere."):
        assert client.port(client.network()["id"], dns_name=name)["dns_name"] == "", "there is no domain to fit with"


def test_a_name_that_does_not_fit_is_told_before_what_the_caller_may_not_say(named: Client) -> None:
    body = {"network_id": named.network()["id"], "dns_name": "a.elsewhere.", "binding:profile": {}}
    assert said(named.call("POST", PORT, {"port": body})) == (400, "HTTPBadRequest")
    assert said(named.call("POST", PORT, {"port": {**body, "dns_name": "a"}})) == (403, "PolicyNotAuthorized")


def test_with_the_default_domain_names_of_ports_are_taken_and_not_kept(client: Client) -> None:
    place = subnet(client)
    told = ("", [("10.0.0.5", "host-10-0-0-5", "host-10-0-0-5.openstacklocal.")])
    fixed = [{"ip_address": "10.0.0.5"}]
    port = client.port(**place, dns_name="web", dns_domain="a.b.", fixed_ips=fixed)
    assert (names(port), port["dns_domain"]) == (told, "")
    changed = client.put(f"{PORT}/{port['id']}", {"port": {"dns_name": "web", "dns_domain": "a."}})["port"]
    assert (names(changed), changed["dns_domain"]) == (told, "")
    assert changed["revision_number"] == port["revision_number"]
    assert names(listed(client, port)) == told


def test_without_any_domain_the_host_name_is_the_whole_name(tmp_path: Path) -> None:
    with cloud_in(tmp_path, operator=Operator(network=NetworkOptions(dns_domain=""))) as client:
        port = client.port(**subnet(client), dns_name="web", fixed_ips=[{"ip_address": "10.0.0.5"}])
        assert names(port) == ("", [("10.0.0.5", "host-10-0-0-5", "host-10-0-0-5")])


def test_a_name_that_was_kept_is_shown_and_not_told_when_the_domain_is_gone(tmp_path: Path) -> None:
    with cloud_in(tmp_path, operator=Operator(network=NetworkOptions(dns_domain=DOMAIN))) as client:
        port = client.port(**subnet(client), dns_name="web", fixed_ips=[{"ip_address": "10.0.0.5"}])
    with cloud_in(tmp_path) as client:
        path = f"{PORT}/{port['id']}"
        told = ("web", [("10.0.0.5", "host-10-0-0-5", "host-10-0-0-5.openstacklocal.")])
        assert names(client.get(path)["port"]) == names(listed(client, port)) == told
        assert names(client.put(path, {"port": {"dns_name": "db"}})["port"]) == told


def test_domains_of_networks_and_ports_are_kept(named: Client) -> None:
    network = named.network(dns_domain="<project_name>.Example.")
    assert network["dns_domain"] == "<project_name>.example."
    changed = named.put(f"{NETWORK}/{network['id']}", {"network": {"dns_domain": ""}}, "demo")["network"]
    assert (changed["dns_domain"], changed["revision_number"]) == ("", network["revision_number"] + 1)
    assert named.network()["dns_domain"] == ""
    port = named.port(network["id"], dns_domain="A.b.")
    assert (port["dns_name"], port["dns_domain"]) == ("", "a.b.")
    path = f"{PORT}/{port['id']}"
    assert named.put(path, {"port": {"dns_name": "x"}})["port"]["dns_domain"] == "a.b."
    assert named.put(path, {"port": {"dns_domain": ""}})["port"]["dns_domain"] == ""


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a.b", "'a.b' is not a FQDN"),
        ("a.\n", "'a.\n' is not a FQDN"),
        ("a\n.", _FORM.format("a\n.") + _LETTERS.format("a\n")),  # which Neutron takes
        ("a..", _FORM.format("a..") + "Encountered an empty component"),
        (".".join("a" * 127) + ".", None),
        (".".join("a" * 200) + ".", None),
    ],
)
def test_a_domain_ends_in_a_dot_and_leaves_room_for_a_name(client: Client, value: str, reason: str | None) -> None:
    external = client.network("admin", **{"router:external": True})["id"]
    network = client.network()["id"]
    for path, kind, keys in (
        (NETWORK, "network", {}),
        (PORT, "port", {"network_id": network}),
        (FLOATINGIP, "floatingip", {"floating_network_id": external}),
    ):
        answer = client.call("POST", path, {kind: {**keys, "dns_domain": value}})
        assert said(answer) == (400, "HTTPBadRequest")
        if reason is not None:
            assert answer.error["message"] == f"Invalid input for dns_domain. Reason: {reason}."


def test_a_network_keeps_the_longest_domain_that_leaves_room(client: Client) -> None:
    longest = ".".join(["x" * 62] * 4) + "."
    assert client.network(dns_domain=longest)["dns_domain"] == longest


@pytest.mark.parametrize("value", [None, 5, True, [], {}])
def test_what_is_no_text_is_refused_as_neutron_refuses_it(client: Client, value: Any) -> None:
    external = client.network("admin", **{"router:external": True})["id"]
    network = client.network()["id"]
    for path, body in (
        (NETWORK, {"network": {"dns_domain": value}}),
        (PORT, {"port": {"network_id": network, "dns_name": value}}),
        (PORT, {"port": {"network_id": network, "dns_domain": value}}),
        (FLOATINGIP, {"floatingip": {"floating_network_id": external, "dns_name": value}}),
    ):
        answer = client.call("POST", path, body)
        assert said(answer) == (400, "InvalidInput")
        assert answer.error["message"] == f"Invalid input for operation: Input value {value} must be string type."


def test_a_subnet_says_whether_its_addresses_are_published(client: Client) -> None:
    network = client.network()["id"]
    made = client.subnet(network, "10.0.0.0/24")
    assert made["dns_publish_fixed_ip"] is False
    assert client.subnet(network, "10.1.0.0/24", dns_publish_fixed_ip=True)["dns_publish_fixed_ip"] is True
    path = f"/v2.0/subnets/{made['id']}"
    for value, kept in ((True, True), (0, False), ("true", True)):
        assert client.put(path, {"subnet": {"dns_publish_fixed_ip": value}})["subnet"]["dns_publish_fixed_ip"] is kept
    refused = client.call("PUT", path, {"subnet": {"dns_publish_fixed_ip": None}})
    assert said(refused) == (400, "InvalidInput")


def test_a_floating_ip_takes_a_name_for_a_service_that_is_not_there(named: Client) -> None:
    """Neither both nor one of the two is kept, and none without the other is refused: so does Neutron."""
    external = named.network("admin", **{"router:external": True})["id"]
    named.subnet(external, "172.24.4.0/24", "admin")
    for given in ({}, {"dns_name": "A"}, {"dns_domain": "b."}, {"dns_name": "a", "dns_domain": "b."}):
        made = named.post(FLOATINGIP, {"floatingip": {"floating_network_id": external, **given}}, "demo")["floatingip"]
        assert (made["dns_name"], made["dns_domain"]) == ("", "")
        shown = named.get(f"{FLOATINGIP}/{made['id']}")["floatingip"]
        assert (shown["dns_name"], shown["dns_domain"]) == ("", "")
        for name in ("dns_name", "dns_domain"):
            refused = named.call("PUT", f"{FLOATINGIP}/{made['id']}", {"floatingip": {name: "x."}})
            assert said(refused) == (400, "HTTPBadRequest")
            assert refused.error["message"] == f"Cannot update read-only attribute {name}"
    for name, reason in (
        ("a.", "'a.' is a FQDN. It should be a relative domain name"),
        ("a_b", _FORM.format("a_b") + _LETTERS.format("a_b")),
        (
            ".".join(["x" * 63] * 4)[:253],
            f"'{'.'.join(['x' * 63] * 4)[:253]}' contains 253 characters. Adding a domain name will cause it to exceed "
            "the maximum length of a FQDN of '255'",
        ),
    ):
        body = {"floatingip": {"floating_network_id": external, "dns_name": name}}
        refused = named.call("POST", FLOATINGIP, body)
        assert said(refused) == (400, "HTTPBadRequest")
        assert refused.error["message"] == f"Invalid input for dns_name. Reason: {reason}."
    listed = named.get(f"{FLOATINGIP}?fields=dns_name")["floatingips"]
    assert listed == [{"dns_name": ""}] * 4


def test_no_list_is_filtered_or_sorted_by_names(named: Client) -> None:
    for path, name in (
        *((PORT, name) for name in ("dns_name", "dns_domain", "dns_assignment")),
        *((FLOATINGIP, name) for name in ("dns_name", "dns_domain")),
        (NETWORK, "dns_domain"),
        ("/v2.0/subnets", "dns_publish_fixed_ip"),
    ):
        answers = [named.call("GET", f"{path}?{query}") for query in (f"{name}=x", f"sort_key={name}&sort_dir=asc")]
        assert [said(answer) for answer in answers] == [(400, "HTTPBadRequest")] * 2


def test_what_a_port_is_assigned_is_not_asked_for(named: Client) -> None:
    network = named.network()["id"]
    made = named.port(network)["id"]
    for verb, path, keys in (("POST", PORT, {"network_id": network}), ("PUT", f"{PORT}/{made}", {})):
        assert said(named.call(verb, path, {"port": {**keys, "dns_assignment": []}})) == (400, "HTTPBadRequest")


def test_of_a_list_with_a_name_that_is_none_no_port_is_made(named: Client) -> None:
    network = named.network()["id"]
    body = {"ports": [{"network_id": network, "dns_name": name} for name in ("a", "a.elsewhere.")]}
    assert said(named.call("POST", PORT, body)) == (400, "HTTPBadRequest")
    assert named.get(f"{PORT}?network_id={network}")["ports"] == []
