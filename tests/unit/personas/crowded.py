"""A database grown by many rows that are nobody's: copies of a real row of each table, and what a statement costs.

Each table that grows gets copies of a row that the API made, with other keys: they belong to a thousand other projects,
lie on networks of a hundred ports, on a thousand hosts, and so on. A statement about one's own finds its few rows at
once or visits the copies, and SQLite counts what it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from deuteron.store.compute_tables import servers
from deuteron.store.database import Database, Tx
from deuteron.store.schema import metadata

T = TypeVar("T")

ROWS: Final = 100_000
STEP: Final = 100
"""Instructions of SQLite's machine between two looks."""


def _id(of: str, by: int = 1) -> str:
    """The id of a copy of table `of`, of which so many rows share one."""
    return f"printf('%08x-{sum(of.encode()) % 0xFFFF:04x}-4000-8000-000000000000', (i + {by - 1}) / {by})"


_ADDRESS = "printf('10.%d.%d.%d', i / 62500, i / 250 % 250, i % 250)"
_MAC = "printf('0a:00:00:%02x:%02x:%02x', i / 65536, i / 256 % 256, i % 256)"
_HOST = "printf('far%04d', i % 1000)"
_NAME = "printf('other%d', i)"
_PROJECT = "printf('%032x', i / 100 + 1)"
_USER = "printf('%032x', i / 10 + 1)"
_GROUP = "printf('%032x', i / 10 + 7000001)"
_DOMAIN = "printf('%032x', i / 1000 + 9000001)"
_TIME = "strftime('%Y-%m-%dT%H:%M:%SZ', 1700000000 + i, 'unixepoch')"

_COMMON: Final = {
    "name": _NAME, "project_id": _PROJECT, "owner": _PROJECT, "user_id": _USER, "mac_address": _MAC,
    "binding:host_id": _HOST, "host": _HOST, "network_id": _id("network_networks", 100), "domain_id": _DOMAIN,
    "subnet_id": _id("network_subnets", 100), "ip_address": _ADDRESS, "number": "printf('%032x', i)",
    "port_id": _id("network_ports"), "security_group_id": _id("network_security_groups", 100),
    "router_id": _id("network_routers", 10), "device_id": _id("compute_servers"), "server_id": _id("compute_servers"),
    "created_at": _TIME, "updated_at": _TIME, "created": _TIME, "updated": _TIME, "deleted_at": _TIME,
    "group_id": _GROUP, "remote_group_id": "NULL", "remote_address_group_id": "NULL",
    "image_id": _id("image_images"), "member_id": _PROJECT,
}  # fmt: skip
"""What differs from copy to copy, by the name of the column."""

GROWING: Final[dict[str, dict[str, str]]] = {
    "changes": {"revision": "-i", "object_id": _id("network_ports")},
    "compute_actions": {},
    "compute_console_tokens": {"digest": "printf('%064x', i)", "expires_at": "4000000000 + i"},
    "compute_deleted_servers": {"number": "i"},
    "compute_keypairs": {"number": "i + 1000"},
    "compute_migrations": {"number": "i"},
    "compute_quotas": {"project_id": "printf('%032x', i)"},
    "compute_user_quotas": {"project_id": "printf('%032x', i)"},
    "compute_server_groups": {},
    "compute_servers": {"number": "i + 1000", "group_id": "NULL", "fault": "NULL"},
    "host_slots": {"object_id": _id("network_ports"), "number": "16 + i / 1000",
                   "parent_id": _id("network_networks", 100)},
    "hosts": {"name": "printf('far%04d', i)", "id": _id("hosts")},
    "identity_access_rules": {},
    "identity_application_credentials": {},
    "identity_assignments": {"actor_id": _USER, "target_id": _PROJECT, "role_id": "printf('%032x', i % 10)"},
    "identity_credentials": {},
    "identity_groups": {"id": "printf('%032x', i + 7000000)", "domain_id": _DOMAIN},
    "identity_memberships": {"group_id": _GROUP, "user_id": "printf('%032x', i)"},
    "identity_projects": {"id": "printf('%032x', i)", "domain_id": _DOMAIN, "parent_id": _DOMAIN},
    "identity_revocations": {"audit_id": "printf('%032x', i)", "expires_at": "4000000000 + i"},
    "identity_limits": {},
    "identity_trusts": {"trustor_user_id": _USER, "trustee_user_id": _USER},
    "identity_users": {"id": "printf('%032x', i)", "domain_id": _DOMAIN, "default_project_id": "NULL"},
    "image_images": {},
    "image_members": {},
    "image_tasks": {},
    "network_address_groups": {},
    "network_address_scopes": {"number": "i + 1000"},
    "network_auto_allocated_topologies": {"project_id": "printf('%032x', i)"},
    "network_default_groups": {"project_id": "printf('%032x', i)", "security_group_id": _id("network_security_groups")},
    "network_dhcp_hosts": {"network_id": _id("network_networks")},
    "network_dvr_host_macs": {"host": "printf('far%04d', i)"},
    "network_ha_hosts": {"router_id": _id("network_routers")},
    "network_ha_networks": {"project_id": "printf('%032x', i)", "network_id": _id("network_networks")},
    "network_ha_routers": {"router_id": _id("network_routers"), "network_id": _id("network_networks")},
    "network_conntrack_helpers": {"router_id": _id("network_routers")},
    "network_floatingips": {"floating_network_id": _id("network_networks", 1000), "floating_ip_address": _ADDRESS,
                            "floating_port_id": _id("network_ports"), "fixed_ip_address": _ADDRESS,
                            "qos_policy_id": _id("network_qos_policies")},
    "network_ip_allocations": {},
    "network_ip_pools": {"subnet_id": _id("network_subnets")},
    "network_local_ip_associations": {"local_ip_id": _id("network_local_ips", 10),
                                      "fixed_port_id": _id("network_ports")},
    "network_local_ips": {"local_port_id": _id("network_ports"), "network_id": _id("network_networks")},
    "network_metering_label_rules": {"metering_label_id": _id("network_metering_labels")},
    "network_metering_labels": {},
    "network_ndp_proxies": {"router_id": _id("network_routers"), "port_id": _id("network_ports")},
    "network_networks": {},
    "network_port_bindings": {"port_id": _id("network_ports")},
    "network_port_forwardings": {"floatingip_id": _id("network_floatingips", 10),
                                 "internal_port_id": _id("network_ports")},
    "network_ports": {},
    "network_qos_bandwidth_limit_rules": {"qos_policy_id": _id("network_qos_policies")},
    "network_qos_dscp_marking_rules": {"qos_policy_id": _id("network_qos_policies")},
    "network_qos_minimum_bandwidth_rules": {"qos_policy_id": _id("network_qos_policies")},
    "network_qos_minimum_packet_rate_rules": {"qos_policy_id": _id("network_qos_policies")},
    "network_qos_packet_rate_limit_rules": {"qos_policy_id": _id("network_qos_policies")},
    "network_qos_policies": {},
    "network_quotas": {"project_id": "printf('%032x', i)"},
    "network_rbac_policies": {"object_id": _id("network_networks"), "target_tenant": _PROJECT},
    "network_logs": {"resource_id": _id("network_security_groups", 10), "target_id": _id("network_ports")},
    "network_routers": {"gateway_port_id": _id("network_ports"), "gateway_network_id": _id("network_networks", 1000),
                        "flavor_id": _id("network_flavors", 10), "qos_policy_id": _id("network_qos_policies")},
    "network_security_group_ports": {},
    "network_security_group_rules": {"signature": "printf('other%d', i)",
                                     "security_group_id": _id("network_security_groups", 10)},
    "network_security_groups": {},
    "network_security_groups_default_statefulness": {"project_id": "printf('%032x', i)"},
    "network_segments": {"network_id": _id("network_networks"), "network_type": "'vxlan'", "place": "''",
                         "number": "i + 100000"},
    "network_subnetpools": {},
    "network_trunk_ports": {"port_id": _id("network_ports"), "trunk_id": _id("network_trunks")},
    "network_trunks": {"port_id": _id("network_ports")},
    "volume_transfers": {"source_project_id": _PROJECT, "volume_id": _id("volume_volumes")},
    "volume_attachments": {"volume_id": _id("volume_volumes"), "instance": _id("compute_servers")},
    "compute_block_devices": {"volume_id": _id("volume_volumes"), "attachment_id": _id("volume_attachments"),
                              "number": "i"},
    "volume_snapshots": {"volume_id": _id("volume_volumes"), "volume_type_id": "NULL", "group_snapshot_id": "NULL",
                         "task": "NULL"},
    "volume_volumes": {"snapshot_id": "NULL", "source_volid": "NULL", "volume_type_id": "printf('%032x', i)",
                       "group_id": "NULL", "task": "NULL"},
    "volume_backups": {"volume_id": _id("volume_volumes"), "parent_id": "NULL", "snapshot_id": "NULL"},
    "volume_group_snapshots": {"group_id": _id("volume_groups")},
    "volume_groups": {"group_type": "NULL"},
    "volume_keys": {},
    "volume_messages": {"resource_uuid": _id("volume_volumes"), "guaranteed_until": _TIME},
    "volume_quotas": {"project_id": "printf('%032x', i)"},
    "placement_consumers": {"project_id": _PROJECT},
    "placement_allocations": {"consumer_id": _id("placement_consumers"), "provider_id": "printf('%032x', i)"},
    "usage": {"owner": "printf('far%d', i)"},
    "number_hints": {"kind": "'other'", "owner": "printf('far%d', i)"},
    "network_subnets": {"network_id": _id("network_networks"), "subnetpool_id": "NULL"},
}  # fmt: skip
"""The tables that grow with the cloud, and what further differs from copy to copy."""

SMALL: Final = {
    "image_metadef_namespaces": "an administrator makes them",
    "image_metadef_parts": "an administrator makes them",
    "image_metadef_resource_types": "an administrator makes them",
    "compute_aggregates": "an administrator makes them",
    "compute_aggregate_hosts": "a few of each host",
    "compute_cached_images": "a few of each host, for a day",
    "compute_flavors": "an administrator makes them",
    "network_flavors": "an administrator makes them",
    "network_service_profiles": "an administrator makes them",
    "identity_domain_configs": "an administrator makes them",
    "identity_endpoint_groups": "an administrator makes them",
    "identity_endpoint_group_projects": "an administrator filters the catalog of few projects",
    "identity_endpoint_projects": "the same",
    "identity_endpoints": "a few of each service",
    "identity_implied_roles": "an administrator makes them",
    "identity_registered_limits": "an administrator makes them",
    "identity_regions": "an administrator makes them",
    "identity_roles": "an administrator makes them",
    "identity_services": "an administrator makes them",
    "identity_state": "one row, and one for each password of the settings",
    "placement_inventories": "a few of each host, and what administrators make",
    "placement_provider_aggregates": "the same",
    "placement_provider_traits": "the same",
    "placement_providers": "one of each host, and what administrators make",
    "placement_resource_classes": "an administrator makes them",
    "placement_traits": "an administrator makes them",
    "volume_default_types": "an administrator sets them",
    "volume_group_types": "an administrator makes them",
    "volume_qos_specs": "an administrator makes them",
    "compute_quota_classes": "an administrator makes them",
    "volume_quota_classes": "an administrator makes them",
    "volume_types": "an administrator makes them",
    "network_default_security_group_rules": "an administrator makes them, at most a hundred",
    "network_steps": "what mechanisms are still to be told, which is seconds old",
}
"""The tables that do not grow with the cloud, and why."""

MOST: Final = frozenset({
    "changes", "compute_servers", "host_slots", "identity_assignments", "identity_revocations",
    "network_ip_allocations", "network_networks", "network_ports", "network_security_group_ports",
    "network_security_group_rules",
})  # fmt: skip
"""The tables that get `ROWS` copies. Of the others a tenth is as good: to look at all of them is dear as well."""
HOSTS: Final = 1_000


_SERVER: Final = ", ".join(column.name for column in servers.columns)
FIRST: Final = {
    "volume_keys": "(id, secret) VALUES ('0', 'of a volume that is encrypted')",
    "network_dvr_host_macs": "VALUES ('nowhere', 'fa:16:3f:00:00:01')",
    "network_ha_hosts": "VALUES ('r', 'h', 'p', 'standby')",
    "network_ha_networks": "VALUES ('p', 'n')",
    "network_ha_routers": "VALUES ('r', 'n', 1)",
    "compute_deleted_servers": f"({_SERVER}, deleted_at) SELECT {_SERVER}, created FROM compute_servers",
    "compute_console_tokens": "VALUES ('none', 'none', 'nobody', 'nowhere', 'vnc', 4000000000, 0)",
    "compute_migrations": "(id, number, status) VALUES ('none', 0, 'done')",
    "compute_quotas": "VALUES ('nobody', 'instances', 1)",
    "compute_user_quotas": "VALUES ('nobody', 'anybody', 'instances', 1)",
    "network_auto_allocated_topologies": "VALUES ('nobody', 'none', 'none')",
    "network_port_bindings": "VALUES ('none', 'nowhere', 'normal', '{}', 'ovs', '{}')",
    "host_slots": "VALUES ('nowhere', 'port', 'none', 15, 'none')",
    "identity_revocations": "VALUES ('none', 4000000000)",
}
"""A row to copy, for tables in which the API has none of what it made."""


def grow(database: Database, rows: int = ROWS) -> None:
    """Fill the tables that grow."""

    def fill(tx: Tx) -> None:
        driver: Any = tx.session.connection.connection.dbapi_connection
        for table in metadata.sorted_tables:
            if table.name in SMALL:
                continue
            said = {**_COMMON, **GROWING[table.name]}
            if table.name in FIRST:
                driver.execute(f"INSERT INTO {table.name} {FIRST[table.name]}")
            assert driver.execute(f"SELECT 1 FROM {table.name}").fetchone(), f"{table.name} has no row to copy"
            many = HOSTS if table.name == "hosts" else rows if table.name in MOST else rows // 10
            values = []
            for column in table.columns:
                default = _id(table.name) if column.key == "id" else f'"{column.name}"'
                values.append(said.get(column.key, said.get(column.name, default)))
            driver.execute(
                f"INSERT INTO {table.name} SELECT {', '.join(values)} "
                f"FROM (SELECT * FROM {table.name} ORDER BY rowid DESC LIMIT 1), "
                f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many}) SELECT i FROM n)"
            )

    database.write(fill)


@dataclass
class Cost:
    """The dearest run of a statement. `shape` is its text without values."""

    shape: str
    text: str
    steps: int
    who: str


@dataclass
class Watching:
    """A database that notes every statement and what it costs, in instructions of SQLite's machine."""

    inner: Database
    now: str = ""
    """Who runs statements now: a request in words."""
    costs: dict[str, Cost] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        with self.inner.read() as tx, self._watched(tx.session.connection):
            yield tx

    def submit(self, function: Callable[[Tx], T]) -> Future[T]:
        def run(tx: Tx) -> T:
            with self._watched(tx.session.connection):
                return function(tx)

        return self.inner.submit(run)

    def write(self, function: Callable[[Tx], T]) -> T:
        return self.submit(function).result()

    @contextmanager
    def _watched(self, connection: Connection) -> Iterator[None]:
        driver: Any = connection.connection.dbapi_connection
        last: list[Any] = ["", 0]

        def begin(text: str) -> None:
            end()
            last[:] = [text, 0]

        def step() -> int:
            last[1] += STEP
            return 0

        def end() -> None:
            text, steps = last
            if not text or text.startswith(("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "--")):
                return
            shape = shape_of(text)
            known = self.costs.get(shape)
            if known is None or steps > known.steps:
                self.costs[shape] = Cost(shape, text, steps, self.now)

        driver.set_trace_callback(begin)
        driver.set_progress_handler(step, STEP)
        try:
            yield
        finally:
            driver.set_trace_callback(None)
            driver.set_progress_handler(None, 0)
            end()


def shape_of(text: str) -> str:
    """A statement without its values."""
    text = re.sub(r"'(?:[^']|'')*'", "?", " ".join(text.split()))
    text = re.sub(r"\b\d+(\.\d+)?\b", "?", text)
    text = re.sub(r"\bNULL\b", "?", text) if text.startswith(("INSERT", "UPDATE")) else text
    return re.sub(r"\?(, \?)+", "?, …", text)


def plan_of(connection: Connection, text: str) -> list[str]:
    """What SQLite would do, line by line."""
    driver: Any = connection.connection.dbapi_connection
    return [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {text}")]
