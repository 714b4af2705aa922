"""What each path takes in its query, by microversion: a name acts, or is refused, or is ignored as Nova ignores it.

Nova ignored what it did not know, until 2.75 (and in some lists earlier) began to refuse it. A name that came with a
later microversion is unknown before. What a name does is the handler's; here is only whether it is known, and what
holds for its values wherever it is.

Source: nova/api/openstack/compute/schemas/*.py (`index_query`, …), nova/api/validation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from deuteron.api.call import Call
from deuteron.api.compute.listing import QUERY as SERVERS
from deuteron.model.codecs import whole_number
from deuteron.model.errors import BadRequest
from deuteron.rules.compute.faults import invalid

_NEVER: Final = 10_000


@dataclass(frozen=True)
class Query:
    """Names with the microversion that brought each, and the one from which others are refused."""

    names: Mapping[str, int] = field(default_factory=dict)
    strict: int = _NEVER
    prefix: str | None = None
    """What begins with this is known too."""


_PAGES: Final = {"limit": 1, "marker": 1}
_FLAVORS: Final = Query(
    dict.fromkeys(("is_public", "minDisk", "minRam", "sort_dir", "sort_key"), 1) | _PAGES | {"name": 102}, 75
)
_KEYPAIR: Final = Query({"user_id": 10}, 75)
_HYPERVISORS: Final = Query({"limit": 33, "marker": 33, "hypervisor_hostname_pattern": 53, "with_servers": 53}, 53)
_QUOTAS: Final = Query({"user_id": 1}, 75)
_OFFSETS: Final = Query({"limit": 1, "offset": 1})
_MIGRATIONS: Final = dict.fromkeys(("hidden", "host", "instance_uuid", "migration_type", "source_compute", "status"), 1)

_NOTHING: Final = (
    "/servers/{id}", "/servers/{id}/metadata", "/servers/{id}/metadata/{key}", "/servers/{id}/ips",
    "/servers/{id}/ips/{network}", "/servers/{id}/os-security-groups", "/servers/{id}/os-interface",
    "/servers/{id}/os-interface/{port}", "/servers/{id}/migrations", "/servers/{id}/migrations/{migration}",
    "/servers/{id}/diagnostics", "/servers/{id}/topology", "/servers/{id}/os-server-password",
    "/servers/{id}/os-instance-actions/{request}",
    "/flavors/{id}", "/flavors/{id}/os-flavor-access", "/flavors/{id}/os-extra_specs",
    "/flavors/{id}/os-extra_specs/{key}", "/os-availability-zone", "/os-availability-zone/detail", "/os-aggregates",
    "/os-aggregates/{id}", "/os-quota-class-sets/{id}", "/os-instance_usage_audit_log",
    "/os-instance_usage_audit_log/{id}", "/os-server-groups/{id}", "/extensions", "/extensions/{alias}",
    "/os-volumes_boot/{id}",
)  # fmt: skip
"""Paths that take nothing, and refuse what they are given since 2.102."""

QUERIES: Final[Mapping[tuple[str, str], Query]] = {
    **{("GET", path): Query({}, 102) for path in _NOTHING},
    ("GET", "/servers"): Query(SERVERS, 75, "_"),
    ("GET", "/servers/detail"): Query(SERVERS, 75, "_"),
    ("GET", "/servers/{id}/os-instance-actions"): Query(
        {"limit": 58, "marker": 58, "changes-since": 58, "changes-before": 66}, 58
    ),
    ("GET", "/servers/{id}/os-volume_attachments"): Query({"limit": 1, "offset": 1}, 75),
    ("GET", "/os-volumes"): _OFFSETS,
    ("GET", "/os-volumes/detail"): _OFFSETS,
    ("GET", "/os-snapshots"): _OFFSETS,
    ("GET", "/os-snapshots/detail"): _OFFSETS,
    ("GET", "/flavors"): _FLAVORS,
    ("GET", "/flavors/detail"): _FLAVORS,
    ("GET", "/os-keypairs"): Query({"user_id": 10, "limit": 35, "marker": 35}, 75),
    ("GET", "/os-keypairs/{name}"): _KEYPAIR,
    ("DELETE", "/os-keypairs/{name}"): _KEYPAIR,
    ("GET", "/os-hosts"): Query({"zone": 1}),
    ("GET", "/os-console-auth-tokens/{token}"): Query({}, 99),
    ("GET", "/servers/{id}/shares"): Query({}, 97),
    ("GET", "/servers/{id}/shares/{share}"): Query({}, 97),
    ("GET", "/os-services"): Query({"host": 1, "binary": 1}, 75),
    ("GET", "/os-hypervisors"): _HYPERVISORS,
    ("GET", "/os-hypervisors/detail"): _HYPERVISORS,
    ("GET", "/os-hypervisors/{id}"): Query({"with_servers": 53}, 53),
    ("GET", "/limits"): Query({"tenant_id": 1}, 75),
    ("GET", "/os-server-groups"): Query({"all_projects": 1, "limit": 1, "offset": 1}, 75),
    ("GET", "/os-simple-tenant-usage"): Query({"detailed": 1, "start": 1, "end": 1, "limit": 40, "marker": 40}, 75),
    ("GET", "/os-simple-tenant-usage/{id}"): Query({"start": 1, "end": 1, "limit": 40, "marker": 40}, 75),
    ("GET", "/os-quota-sets/{id}"): _QUOTAS,
    ("GET", "/os-quota-sets/{id}/detail"): _QUOTAS,
    ("PUT", "/os-quota-sets/{id}"): _QUOTAS,
    ("DELETE", "/os-quota-sets/{id}"): _QUOTAS,
    ("GET", "/os-migrations"): Query(
        {**_MIGRATIONS, "limit": 59, "marker": 59, "changes-since": 59, "changes-before": 66, "project_id": 80,
         "user_id": 80}, 59
    ),
}  # fmt: skip
"""Paths that are not here take nothing, and ignore what they are given in every microversion."""


def checked(method: str, path: str, handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, which sees of the query what its path and the request's microversion know."""
    query = QUERIES.get((method, path))
    if query is None:
        return handler

    def check(call: Call, *more: Any) -> Any:  # a transaction, but for a handler that waits by itself
        known = {name for name, since in query.names.items() if call.version >= since}
        if query.prefix is not None:
            known |= {name for name, _ in call.query if name.startswith(query.prefix)}
        unknown = sorted({name for name, _ in call.query} - known)
        if unknown and call.version >= query.strict:
            listed = ", ".join(f"'{name}'" for name in unknown)
            verb = "was" if len(unknown) == 1 else "were"
            raise BadRequest(
                f"Invalid input for query parameters. Value: {dict(call.query)}. Additional properties are not allowed "
                f"({listed} {verb} unexpected)",
                type="ValidationError",
            )
        for name, value in call.query:
            if name in ("limit", "offset") and name in known and whole_number(value) is None:
                raise invalid(name, value, f"'{value}' does not match '^[0-9]*$'")
        return handler(replace(call, query=tuple(pair for pair in call.query if pair[0] in known)), *more)

    return check
