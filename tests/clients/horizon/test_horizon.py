"""OpenStack's own dashboard, the real one, against a cloud: its panels, each of its pages, and work done in them.

What is pressed and filled in there is looked at afterwards through the API. docs/horizon.md says how to have the same.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from openstack.connection import Connection

from tests.clients.horizon import installed, things
from tests.clients.horizon.browser import Browser, Page
from tests.clouds import Cloud, running, wait_for

pytestmark = pytest.mark.long
HERE = Path(__file__).parent
DOCUMENT = HERE.parents[2] / "docs" / "horizon.md"
REASONS: dict[str, dict[str, str]] = yaml.safe_load((HERE / "reasons.yaml").read_text())
"""Pages that do not open, by why: each address with what is seen there."""


@dataclass(frozen=True)
class Place:
    """A Horizon, who has logged in there, and the same people at the API."""

    cloud: Cloud
    demo: Browser
    admin: Browser
    as_demo: Connection
    as_admin: Connection
    log: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    log = tmp_path_factory.mktemp("horizon") / "horizon.log"
    installed.environment()  # before there is a cloud: it may take its time, or fail
    with running() as cloud:
        people = yaml.safe_load((cloud.state / "clouds.yaml").read_text())["clouds"]
        logins = {name: people[name]["auth"] for name in ("demo", "admin")}
        with installed.running(logins["demo"]["auth_url"], log) as address:
            browsers = {who: Browser(address, told["username"], told["password"]) for who, told in logins.items()}
            yield Place(cloud, **browsers, as_demo=cloud.connect("demo"), as_admin=cloud.connect("admin"), log=log)
        print("--- horizon.log", *log.read_text().splitlines()[-60:], sep="\n")  # shown when a test failed


def test_panels_are_those_of_the_document(place: Place) -> None:
    said = set(re.findall(r"^\| [^|]+ \| `(/[^`]*)`", DOCUMENT.read_text(), re.MULTILINE))
    assert len(said) > 40
    seen = {
        who: set(re.findall(r'href="(/(?:project|admin|identity)/[^"#?]*)"', place_of.home.text)) - _DOWNLOADS
        for who, place_of in (("demo", place.demo), ("admin", place.admin))
    }
    assert seen["admin"] == said
    assert {path for path in seen["demo"] if path.startswith("/admin/")} == set()
    assert seen["demo"] < seen["admin"]


_DOWNLOADS = {"/project/api_access/openrc/", "/project/api_access/clouds.yaml/"}


def test_every_page_opens_or_has_a_reason_not_to(place: Place) -> None:
    shown = things.make(place.as_demo, place.as_admin)
    patterns = _patterns()
    assert len(patterns) > 300
    expected = {path: (reason, seen) for reason, paths in REASONS.items() for path, seen in paths.items()}
    wrong, tabs = [], 0
    for pattern, name in patterns:
        who = place.admin if pattern.startswith(_OF_ADMINISTRATORS) else place.demo
        path = "/" + _filled(pattern, shown)
        is_page = name in _PAGES or name.endswith("_tab")
        page = who.visit(path, is_modal=not is_page)
        seen = _trouble(page)
        if (pattern in expected) != bool(seen) or (pattern in expected and expected.pop(pattern)[1] not in seen):
            wrong.append(f"{pattern} ({path}): {seen or 'opens'}")
        for tab in sorted(set(re.findall(r'href="(\?tab=[^"]+)"', page.text))) if is_page else ():
            tabs += 1
            seen = _trouble(who.visit(path.partition("?")[0] + tab, is_modal=True))
            wrong += [f"{path} {tab}: {seen}"] if seen else []
    assert wrong == [] and not expected, f"{wrong} {expected}"
    assert tabs > 40


_PAGES = frozenset(("index", "detail", "auto_console", "vnc", "spice", "rdp", "mks", "serial"))
"""What opens in a window of its own. The others are put before one by its scripts."""
_OF_ADMINISTRATORS = (
    "admin/",
    "identity/",
    "settings/",
    "api/keystone",
    "api/nova/services",
    "api/nova/aggregates",
    "api/cinder/qosspecs",
    "api/cinder/services",
)


def _patterns() -> list[tuple[str, str]]:
    python = installed.environment() / "bin" / "python"
    environment = {"PYTHONWARNINGS": "ignore", "DJANGO_SETTINGS_MODULE": "openstack_dashboard.settings"}
    done = subprocess.run([python, HERE / "routes.py"], env=environment, stdout=subprocess.PIPE, check=True, timeout=60)
    listed = [(pattern, name) for pattern, name in json.loads(done.stdout)]
    return [each for each in listed if each[0].startswith(("project/", "admin/", "identity/", "settings/", "api/"))]


def _filled(pattern: str, shown: things.Things) -> str:
    """An address of a pattern, with things in the place of its parameters."""
    path = pattern.replace(r"(\?tab=network_tabs__overview)?", "").replace(r"\?", "?")
    of = shown.of(path)
    path = re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda found: quote(of.get(found.group(1), "x")), path)
    return path + shown.queries.get(path, "")


def _trouble(page: Page) -> str:
    """What a person would call an error; nothing, if none."""
    if page.status == 405:
        return ""  # is sent to, and not looked at
    if page.status != 200:
        return f"{page.status} {' '.join(page.errors)} {page.text[:300] if '<html' not in page.text else ''}"
    return " ".join(page.errors)


def test_a_person_makes_a_network_launches_a_server_and_gives_it_a_disk(place: Place) -> None:
    person, api = place.demo, place.as_demo
    person.fill(
        "/project/networks/create",
        {
            "net_name": "hall",
            "with_subnet": "on",
            "subnet_name": "hall4",
            "cidr": "10.77.0.0/24",
            "dns_nameservers": "9.9.9.9",
            "allocation_pools": "10.77.0.10,10.77.0.99",
            "host_routes": "192.168.99.0/24,10.77.0.254",
        },
    )
    network, subnet = api.network.find_network("hall"), api.network.find_subnet("hall4")
    assert (subnet.network_id, subnet.dns_nameservers, subnet.allocation_pools) == (
        network.id,
        ["9.9.9.9"],
        [{"start": "10.77.0.10", "end": "10.77.0.99"}],
    )
    person.fill("/project/routers/create/", {"name": "door"})
    router = api.network.find_router("door")
    person.fill(f"/project/routers/{router.id}/setgateway", {"network_id": "public"})
    person.fill(f"/project/routers/{router.id}/addinterface", {"subnet_id": subnet.id})
    (inside,) = api.network.ports(device_id=router.id, network_id=network.id)
    assert [each["ip_address"] for each in inside.fixed_ips] == ["10.77.0.1"]
    assert api.network.get_router(router).external_gateway_info["network_id"] == (api.network.find_network("public").id)

    person.fill("/project/security_groups/create/", {"name": "open", "description": "for the web"})
    group = api.network.find_security_group("open")
    rule = {"rule_menu": "tcp", "port_or_range": "port", "port": "80", "remote": "cidr", "cidr": "10.0.0.0/8"}
    person.fill(f"/project/security_groups/{group.id}/add_rule/", rule)
    (made,) = api.network.security_group_rules(security_group_id=group.id, direction="ingress")
    assert (made.protocol, made.port_range_min, made.remote_ip_prefix) == ("tcp", 80, "10.0.0.0/8")
    person.fill("/project/key_pairs/create/", {"name": "mine"})
    assert api.compute.get_keypair("mine").type == "ssh"

    launched = person.ask("POST", "/nova/servers/", _launch(person, "guest", "open"))["id"]
    server = api.compute.wait_for_server(api.compute.get_server(launched), wait=120)
    assert (server.key_name, [each["name"] for each in server.security_groups]) == ("mine", ["open"])
    (address,) = [each["addr"] for each in server.addresses["hall"]]

    person.fill("/project/floating_ips/allocate/", {"pool": "public", "description": "a way in"})
    (floating,) = [each for each in api.network.ips() if each.description == "a way in"]
    (port,) = api.network.ports(device_id=server.id)
    told = {"ip_id": floating.id, "port_id": f"{port.id}_{address}"}
    person.fill("/project/floating_ips/associate/", told)
    assert api.network.get_ip(floating).fixed_ip_address == address
    assert floating.floating_ip_address in person.look("/project/instances/").words

    person.fill("/project/volumes/create/", {"name": "disk", "size": "1"})
    volume = api.block_storage.find_volume("disk")
    api.block_storage.wait_for_status(volume, "available", wait=60)
    person.fill(f"/project/volumes/{volume.id}/extend/", {"new_size": "2"})
    wait_for("the larger volume", lambda: api.block_storage.get_volume(volume), lambda seen: seen.size == 2)
    api.block_storage.wait_for_status(volume, "available", wait=60)
    person.fill(f"/project/volumes/{volume.id}/attach/", {"instance": server.id})
    api.block_storage.wait_for_status(volume, "in-use", wait=60)
    assert [each.volume_id for each in api.compute.volume_attachments(server)] == [volume.id]
    person.fill(f"/project/volumes/{volume.id}/create_snapshot/", {"name": "kept"})
    snapshot = wait_for("a snapshot", lambda: api.block_storage.find_snapshot("kept"))
    assert snapshot.volume_id == volume.id

    topology = person.visit("/project/network_topology/json").json()
    assert {each["name"] for each in topology["servers"]} >= {"guest"}
    assert {each["name"] for each in topology["networks"]} >= {"hall", "public"}
    assert {each["device_id"] for each in topology["ports"]} >= {server.id, router.id}

    said = wait_for(
        "the guest's words",
        lambda: person.look(f"/project/instances/{server.id}/console?length=1000").text,
        lambda seen: "login:" in seen or "Linux" in seen,
        120,
    )
    assert said
    screen = person.visit(f"/project/instances/{server.id}/vnc")
    assert screen.status == 200 and "/console/novnc/" in screen.url

    person.press("/project/instances/", f"instances__stop__{server.id}")
    api.compute.wait_for_server(server, status="SHUTOFF", wait=120)
    person.fill(f"/project/instances/{server.id}/update", {"name": "guest of the hall"})
    assert api.compute.get_server(server).name == "guest of the hall"
    person.press("/project/instances/", f"instances__delete__{server.id}")
    api.compute.wait_for_delete(server, wait=60)


def _launch(person: Browser, name: str, group: str) -> dict[str, Any]:
    """What the wizard sends, of what it has asked for its lists to choose from."""
    networks = person.ask("GET", "/neutron/networks/")["items"]
    images = person.ask("GET", "/glance/images/?status=active&sort_key=name&sort_dir=asc")["items"]
    flavors = person.ask("GET", "/nova/flavors/?is_public=true&get_extras=true")["items"]
    groups = person.ask("GET", "/network/securitygroups/")["items"]
    keys = person.ask("GET", "/nova/keypairs/")["items"]
    assert [zone["name"] for zone in person.ask("GET", "/nova/availzones/")["items"]] == ["nova"]
    assert person.ask("GET", "/nova/limits/?reserved=true")["maxTotalInstances"] == 10

    def named(items: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
        return next(each for each in items if each["name"] == wanted)

    return {
        "name": name,
        "description": "of the wizard",
        "availability_zone": "nova",
        "instance_count": 1,
        "config_drive": False,
        "user_data": "",
        "disk_config": "AUTO",
        "source_id": named(images, "tiny")["id"],
        "flavor_id": named(flavors, "m1.nano")["id"],
        "key_name": named(keys, "mine")["name"],
        "security_groups": [named(groups, group)["id"]],
        "nics": [{"net-id": named(networks, "hall")["id"], "v4-fixed-ip": ""}],
        "scheduler_hints": {},
        "meta": {"wing": "east"},
        "hide_create_volume": False,
        "create_volume_default": True,
    }


def test_a_person_brings_an_image(place: Place) -> None:
    body = {
        "name": "own",
        "disk_format": "raw",
        "container_format": "bare",
        "visibility": "private",
        "protected": False,
    }
    made = place.demo.ask("PUT", "/glance/images/", {**body, "min_disk": 0, "min_ram": 0})

    image = place.as_demo.image.find_image("own")

    assert (made["id"], image.status, image.visibility) == (image.id, "queued", "private")
    assert place.demo.ask("GET", f"/glance/images/{image.id}/")["name"] == "own"
    place.demo.ask(
        "PATCH", f"/glance/images/{image.id}/properties/", {"updated": {"os_distro": "debian"}, "removed": []}
    )
    assert place.as_demo.image.get_image(image).os_distro == "debian"
    place.demo.ask("DELETE", f"/glance/images/{image.id}/")
    assert place.as_demo.image.find_image("own") is None


def test_an_administrator_looks_after_the_cloud(place: Place) -> None:
    person, api = place.admin, place.as_admin
    person.fill("/admin/flavors/create/", {"name": "wide", "vcpus": "2", "memory_mb": "256", "disk_gb": "1"})
    flavor = api.compute.find_flavor("wide")
    assert (flavor.vcpus, flavor.ram, flavor.disk) == (2, 256, 1)
    person.fill("/admin/aggregates/create/", {"name": "rack", "add_host_to_aggregate_role_member": ["aio"]})
    assert api.compute.find_aggregate("rack").hosts == ["aio"]
    shown = {"name": "ring", "tenant_id": "demo", "network_type": "VXLAN", "segmentation_id": "4711"}
    person.fill("/admin/networks/create/", {**shown, "subnet_name": "ring4", "cidr": "10.78.0.0/24"})
    network = api.network.find_network("ring")
    assert (network.provider_network_type, network.provider_segmentation_id) == ("vxlan", 4711)
    person.fill("/admin/volume_types/create_type", {"name": "gold"})
    assert api.block_storage.find_type("gold").is_public
    person.fill("/admin/defaults/update_defaults", {"instances": "11", "volumes": "12"})
    assert api.compute.get_quota_set_defaults("x").instances == 11
    assert api.block_storage.get_quota_set_defaults("x").volumes == 12

    services = person.look("/admin/info/").words
    assert all(name in services for name in ("keystone", "nova", "neutron", "glance", "cinder", "placement"))
    seen = {
        tab: person.look(f"/admin/info/?tab=system_info__{tab}").words
        for tab in ("nova_services", "cinder_services", "network_agents")
    }
    assert "nova-compute" in seen["nova_services"] and "aio" in seen["nova_services"]
    assert "cinder-volume" in seen["cinder_services"]
    kinds = ("L3 agent", "DHCP agent", "Open vSwitch agent", "Metadata agent")
    assert [kind for kind in kinds if kind not in seen["network_agents"]] == []
    assert "aio" in person.look("/admin/hypervisors/").words

    person.fill("/admin/hypervisors/aio/disable_service", {"reason": "a new fan"})
    (service,) = api.compute.services(host="aio", binary="nova-compute")
    assert (service.status, service.disabled_reason) == ("disabled", "a new fan")
    person.press("/admin/hypervisors/?tab=hypervisor_info__compute_host", "compute_host__enable__aio")
    (service,) = api.compute.services(host="aio", binary="nova-compute")
    assert service.status == "enabled"


def test_an_administrator_looks_after_people(place: Place) -> None:
    person, api = place.admin, place.as_admin
    person.fill("/identity/create", {"name": "tenant1", "description": "the first"})
    project = api.identity.find_project("tenant1")
    assert (project.description, project.is_enabled) == ("the first", True)
    secret = {"password": "Correct-horse-9", "confirm_password": "Correct-horse-9"}
    person.fill("/identity/users/create/", {"name": "anna", "email": "a@b.example", "project": "tenant1", **secret})
    user = api.identity.find_user("anna")
    assert (user.email, user.default_project_id) == ("a@b.example", project.id)
    (assigned,) = api.identity.role_assignments(user_id=user.id, scope_project_id=project.id)
    assert api.identity.get_role(assigned.role["id"]).name == "member"
    person.fill("/identity/groups/create", {"name": "staff"})
    assert api.identity.find_group("staff")
    person.ask("POST", "/keystone/roles/", {"name": "auditor"})
    assert api.identity.find_role("auditor")

    anna = Browser(person.address, "anna", "Correct-horse-9")
    made = anna.fill("/identity/application_credentials/create/", {"name": "robot"})
    (credential,) = api.identity.application_credentials(user.id)
    assert credential.name == "robot" and credential.id in made.text
    told = yaml.safe_load(anna.download("/project/api_access/clouds.yaml/").text)
    assert told["clouds"]["openstack"]["auth"]["project_name"] == "tenant1"
    assert "anna" not in place.demo.look("/identity/users/").words
