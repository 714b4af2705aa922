"""No statement without an index: every request of every service, in a cloud of 100,000 ports that are others'.

Each route of `TABLE` is asked by an administrator and by a member, and every list of the Network API by each of its
filters and sort keys that people use, all about one's own few objects or about a page. The database counts what each
statement does (`crowded`). One that does more than `MOST_STEPS`, or whose plan looks through a table that grows, is
found, unless `ALLOWED` says why.

A plan that goes through an index in the order of a page is no harm where the page is full soon, so a walk with a LIMIT
is judged by what it did.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, cast

import pytest

from deuteron.api.app import App
from deuteron.api.main import build
from deuteron.model.intent import Hello
from deuteron.model.settings import HostEntry, Settings
from deuteron.rules.hosts import registry
from deuteron.store.database import Database
from deuteron.store.schema import metadata
from tests.unit.api_hosts.agent import backend
from tests.unit.personas.crowded import GROWING, SMALL, Cost, Watching, grow, plan_of
from tests.unit.personas.test_routes import SERVICES, TABLE, Forgetting, Person, filled, possess

MOST_STEPS: Final = 20_000
"""Some 0.5 ms. To look at a table of 10,000 rows takes more."""

ALLOWED: Final = {
    r"FROM hosts WHERE instr\(.*\) AS anon_1 ORDER BY .* LIMIT \? OFFSET \?$": "a page of hypervisors is cut from all",
    r"FROM hosts$": "hosts are a thousand, and who chooses among them looks at all",
    r"FROM hosts WHERE ((?!LIMIT).)*ORDER BY (hosts.name|anon_1.name ASC, anon_1.id ASC)$": "a list of all services or "
    "hypervisors, which Nova does not page",
    r"FROM identity_(users|projects|groups|credentials|assignments|trusts|limits)"
    r"( WHERE identity_projects.is_domain IS \?)?( ORDER BY .*)?$": "an administrator's list of everything, "
    "which Keystone does not page",
    r"FROM image_images WHERE .* ORDER BY image_images.created_at DESC": "a list of images is sorted by time",
    r"FROM network_networks ORDER BY network_networks.id$": "a list of everything, which Nova does not page",
    r"FROM network_quotas ORDER BY": "a list of all quotas, which Neutron does not page",
    r"FROM network_subnets ORDER BY network_subnets.id$": "the same",
    r"FROM network_ip_allocations( JOIN network_ip_pools .*)? GROUP BY": "how full all networks are, unpaged as well",
    r"FROM network_ports WHERE .*binding_host_id != \? .*GROUP BY": "a list of all agents counts what all of them have",
    r"FROM network_routers WHERE network_routers.host IS NOT NULL .*GROUP BY": "the same",
    r"FROM network_ha_hosts GROUP BY": "the same",
    r"FROM network_dhcp_hosts GROUP BY": "the same",
    r"FROM compute_servers WHERE compute_servers.launched_at IS NOT NULL": "the use of all projects",
    r"FROM compute_deleted_servers WHERE compute_deleted_servers.launched_at IS NOT NULL": "the same",
    r"FROM (network_(networks|subnets|ports|routers|floatingips|security_groups|trunks) ORDER BY \S+ ASC"
    r"|compute_servers ORDER BY compute_servers.id)$": "an administrator's trace looks at all there is, in a thread",
}
"""Statements that may look at a whole table, by how they end, and why."""

FILTERS: Final = (
    "ports?network_id={network}", "ports?device_id={server}", "ports?device_owner=nobody", "ports?name=none",
    "ports?mac_address=0a:0a:0a:0a:0a:0a", "ports?fixed_ips=ip_address%3D192.0.2.1", "ports?id={port}",
    "ports?fixed_ips=subnet_id%3D{subnet}", "ports?security_groups={security_group}", "ports?project_id={project}",
    "ports?binding:host_id=nowhere", "ports?limit=10&sort_key=name&sort_dir=asc", "ports?limit=10&marker={port}",
    "ports?project_id={project}&limit=10", "ports?id={port}&id={network}", "ports?device_id={server}&device_id={port}",
    "networks?name=none", "networks?id={network}", "networks?project_id={project}", "networks?shared=true&limit=10",
    "networks?router:external=true&limit=10", "networks?limit=10&marker={network}",
    "networks?limit=10&sort_key=name&sort_dir=asc",
    "subnets?network_id={network}", "subnets?name=none", "subnets?project_id={project}", "subnets?limit=10",
    "routers?name=none", "routers?project_id={project}", "routers?limit=10&marker={router}",
    "floatingips?floating_ip_address=192.0.2.1", "floatingips?port_id={port}", "floatingips?router_id={router}",
    "floatingips?floating_network_id={network}", "floatingips?project_id={project}",
    "security-groups?name=none", "security-groups?project_id={project}", "security-groups?limit=10",
    "security-group-rules?security_group_id={security_group}", "security-group-rules?remote_group_id={security_group}",
    "security-group-rules?project_id={project}", "address-groups?name=none", "address-groups?project_id={project}",
    "security-group-rules?remote_address_group_id={address_group}",
    "qos/policies?name=none", "qos/policies?project_id={project}",
    "qos/policies?limit=10&marker={qos_policy}", "qos/policies/{qos_policy}/bandwidth_limit_rules?max_kbps=1",
    "qos/policies/{qos_policy}/packet_rate_limit_rules?max_kpps=1",
    "qos/policies/{qos_policy}/minimum_bandwidth_rules?min_kbps=1",
    "qos/policies/{qos_policy}/minimum_packet_rate_rules?min_kpps=1",
    "flavors?service_type=L3_ROUTER_NAT", "service_profiles?driver=none",
    "metering/metering-labels?name=none", "metering/metering-label-rules?metering_label_id={metering_label}",
    "default-security-group-rules?used_in_default_sg=true",
    "security-groups-default-statefulness?project_id={project}",
    "floatingips/{floatingip}/port_forwardings?external_port=1",
    "floatingips/{floatingip}/port_forwardings?internal_port_id={port}",
    "routers/{router}/conntrack_helpers?helper=ftp", "ndp_proxies?name=none",
    "trunks?name=none", "trunks?port_id={port}", "trunks?project_id={project}", "trunks?limit=10&marker={trunk}",
    "local_ips?name=none", "local_ips?local_port_id={port}", "local_ips?limit=10&marker={local_ip}",
    "local_ips/{local_ip}/port_associations?fixed_port_id={port}",
    "log/logs?name=none", "log/logs?resource_id={security_group}", "log/logs?project_id={project}",
    "log/logs?limit=10&marker={log}",
    "segments?network_id={network}", "segments?name=none", "segments?limit=10&marker={segment}",
    "segments?physical_network=none", "subnets?segment_id={segment}",
    "agents?host=aio", "agents?binary=neutron-dhcp-agent",
)  # fmt: skip
"""How people look for things in the Network API."""
COMPUTE_FILTERS: Final = (
    "servers?limit=10&marker={server}", "servers?limit=10&all_tenants=1",
    "servers/detail?limit=10&all_tenants=1&marker={server}", "servers?limit=10&all_tenants=1&host=nowhere",
    "servers?limit=10&all_tenants=1&uuid={server}", "servers?limit=10&name=none", "servers?limit=10&status=ERROR",
    "servers?limit=10&ip=192.0.2.1", "servers?limit=10&sort_key=display_name&sort_dir=asc",
    "flavors/detail?limit=10&sort_key=name", "os-services?host=aio", "os-server-groups?limit=10",
    "os-simple-tenant-usage/{project}?start=2020-01-01T00:00:00",
)  # fmt: skip
"""The same in the Compute API."""
VOLUME_FILTERS: Final = (
    "volumes?limit=10&marker={volume}", "volumes/detail?limit=10&all_tenants=1", "volumes?limit=10&name=none",
    "volumes/detail?limit=10&sort=name:asc", "volumes?limit=10&status=error", "snapshots?limit=10&volume_id={volume}",
    "snapshots/detail?limit=10&all_tenants=1", "messages?resource_uuid={volume}",
    "backups?limit=10&volume_id={volume}", "backups/detail?limit=10&all_tenants=1", "backups?limit=10&marker={backup}",
    "volumes?limit=10&group_id={volume_group}", "group_snapshots/detail?limit=10&group_id={volume_group}",
    "groups?limit=10&marker={volume_group}",
)  # fmt: skip
"""The same in the Block Storage API."""
_PAGED: Final = {
    "GET /compute/v2.1/os-migrations",
    *(f"GET /network/v2.0/{name}" for name in (
        "networks", "subnets", "ports", "routers", "floatingips", "security-groups", "security-group-rules",
        "subnetpools", "address-scopes", "address-groups", "rbac-policies", "qos/policies",
        "metering/metering-labels", "metering/metering-label-rules", "security-groups-default-statefulness", "trunks",
        "ndp_proxies", "local_ips", "log/logs", "segments",
    )),
    "GET /compute/v2.1/servers", "GET /compute/v2.1/servers/detail", "GET /volume/v3/volumes",
    "GET /volume/v3/volumes/detail", "GET /volume/v3/snapshots", "GET /volume/v3/snapshots/detail",
    "GET /volume/v3/messages", "GET /volume/v3/backups", "GET /volume/v3/backups/detail",
    *(f"GET /volume/v3/{name}{tail}" for name in ("groups", "group_snapshots") for tail in ("", "/detail")),
}  # fmt: skip
"""Lists of which a page is asked for."""


@dataclass(frozen=True)
class Crowd:
    watching: Watching
    people: dict[str, Person]
    own: dict[str, str]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    folder = tmp_path_factory.mktemp("cloud")
    settings = Settings(
        state_dir=str(folder), port=5000, socket=str(folder / "s"), admin_password="secret", demo_password="secret",
        hosts={"aio": HostEntry(token="t")},
    )  # fmt: skip
    cloud, app = build(settings)
    host = Hello(
        host="aio", roles=("network", "compute", "storage"), vcpus=4, memory_mib=4096, disk_gib=10,
        volume_backends=(backend(total_gib=10),),
    )  # fmt: skip
    cloud.database.write(lambda tx: registry.greet(tx, host))
    name = {"user": {"name": "admin", "domain": {"id": "default"}, "password": "secret"}}
    scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
    auth = {"identity": {"methods": ["password"], "password": name}, "scope": scope}
    answer = Person(app).ask("POST", "/identity/v3/auth/tokens", {"auth": auth})
    admin = Person(app, answer.headers["x-subject-token"])
    own, roles = possess(admin, "own")
    grow(cloud.database)
    watching = Watching(cloud.database)
    watched = App(
        replace(cloud, database=cast(Database, Forgetting(cast(Database, watching)))), tuple(SERVICES.values())
    )
    folk: dict[str, Person] = {}
    for role in ("admin", "member"):
        user = admin.make("/identity/v3/users", "user", name=role, password="secret", domain_id=own["domain"])["id"]
        admin.put(f"/identity/v3/projects/{own['project']}/users/{user}/roles/{roles[role]}")
        folk[role] = replace(admin.login(user, {"project": {"id": own["project"]}}), app=watched)
    yield Crowd(watching, folk, own)
    cloud.database.close()


def test_every_table_grows_or_is_known_to_stay_small() -> None:
    assert {table.name for table in metadata.sorted_tables} == GROWING.keys() | SMALL.keys()
    assert GROWING.keys() & SMALL.keys() == set()


def test_no_request_looks_through_a_table_that_grows(crowd: Crowd) -> None:
    filters = [f"GET /network/v2.0/{each}" for each in FILTERS]
    filters += [f"GET /compute/v2.1/{each}" for each in COMPUTE_FILTERS]
    filters += [f"GET /volume/v3/{each}" for each in VOLUME_FILTERS]
    for request in (*TABLE, *filters):
        line = TABLE.get(request)
        method, _, path = request.partition(" ")
        query = "limit=10" if request in _PAGED else "" if line is None else line.query
        target = filled(path + (f"?{query}" if query else ""), crowd.own)
        for who, person in crowd.people.items():
            crowd.watching.now = f"{who}: {request}"
            body, headers = (None, {}) if line is None else (line.body, line.headers)
            answer = person.ask(method, target, filled(body, crowd.own), filled(headers, crowd.own))
            assert answer.status < 500 or answer.status == 501, (crowd.watching.now, answer.body)
    found = [cost for cost in crowd.watching.costs.values() if _reason(cost) is None]
    with crowd.watching.inner.read() as tx:
        looks = [(cost, _looks(plan_of(tx.session.connection, cost.text))) for cost in found]
    wrong = [
        f"{cost.who}: {cost.steps} steps, {look}\n    {cost.shape}" for cost, look in looks if _is_dear(cost, look)
    ]
    assert wrong == [], "\n".join(wrong)
    assert len(crowd.watching.costs) > 250, "the requests were watched"


def test_what_looks_through_a_table_is_seen(crowd: Crowd) -> None:
    crowd.watching.now = "the test"
    with crowd.watching.read() as tx:
        tx.session.connection.exec_driver_sql("SELECT count(*) FROM network_ports WHERE description = 'none'").all()
        tx.session.connection.exec_driver_sql("SELECT id FROM network_ports ORDER BY status LIMIT 10").all()
    own = [cost for cost in crowd.watching.costs.values() if cost.who == "the test"]
    assert len(own) == 2
    assert all(cost.steps > MOST_STEPS for cost in own)
    with crowd.watching.inner.read() as tx:
        assert all(_looks(plan_of(tx.session.connection, cost.text)) for cost in own)
    for cost in own:
        del crowd.watching.costs[cost.shape]


def _is_dear(cost: Cost, looks: list[str]) -> bool:
    return cost.steps > MOST_STEPS or (looks != [] and cost.steps > 0 and " LIMIT ?" not in cost.shape)


def _looks(plan: list[str]) -> list[str]:
    """The lines of a plan that go through a whole table that grows."""
    return [line for line in plan if line.startswith("SCAN ") and line.split()[1] in GROWING]


def _reason(cost: Cost) -> str | None:
    return next((why for end, why in ALLOWED.items() if re.search(end, cost.shape)), None)
