"""Hosts as the Compute service has them: its services, which may be disabled, and what is taken of each hypervisor.

Nova knows of a host once its service listed itself, so these are the compute hosts whose agent ever connected. They are
numbered by name, which is how microversions before 2.53 call them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Final

from sqlalchemy import select

from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.placement import hosts as places
from deuteron.store import query
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from deuteron.store.listing import ALL
from deuteron.store.query import Page

COMPUTE: Final = "nova-compute"
CONTROL: Final = ("nova-scheduler", "nova-conductor")
"""Services that Nova has and clients look for; here they are the API itself."""
CONTROLLER: Final = "controller"
"""The host that those are on."""

ROLE: Final = "compute"


def listed(tx: Tx, settings: Settings, *, name: str | None = None, part: str = "", page: Page = ALL) -> list[Host]:
    """Hosts by name: one of that `name`, those with `part` in it; the part that the page asks for."""
    return registry.known(tx, settings, ROLE, name=name, part=part, page=page)


def numbers(tx: Tx) -> dict[str, int]:
    """The number of each host, from 1 on."""
    return {name: number for number, name in enumerate(registry.known_names(tx, ROLE), 1)}


def find(tx: Tx, settings: Settings, key: str | int) -> Host | None:
    """The host of this id or number."""
    if isinstance(key, str):
        return next(iter(registry.known(tx, settings, ROLE, id=key)), None)
    names = registry.known_names(tx, ROLE)
    return listed(tx, settings, name=names[key - 1])[0] if 0 < key <= len(names) else None


def of_service(tx: Tx, settings: Settings, service_id: str) -> Host:
    """The host of a compute service by the service's id. Raises: NotFound; BadRequest for a service of another kind."""
    # The id is made of the host's name and leads back to nothing, so all names are tried.
    for name in registry.known_names(tx, ROLE):
        if registry.host_id(name, COMPUTE) == service_id:
            return listed(tx, settings, name=name)[0]
    for binary in CONTROL:
        if registry.host_id(CONTROLLER, binary) == service_id:
            raise only_compute(binary)
    raise NotFound(f"Service {service_id} could not be found.", type="ServiceNotFound")


def only_compute(binary: str) -> BadRequest:
    return BadRequest(
        f"Updating a {binary} service is not supported. Only nova-compute services can be updated.",
        type="HTTPBadRequest",
    )


def on_host(tx: Tx, settings: Settings, name: str, binary: str) -> Host:
    """The host whose compute service is named by host and binary. Raises: BadRequest, NotFound."""
    if binary != COMPUTE:
        raise only_compute(binary)
    found = listed(tx, settings, name=name)
    if not found:
        raise NotFound(f"Could not find binary {binary} on host {name}.", type="HostBinaryNotFound")
    return found[0]


def enable(tx: Tx, host: Host) -> None:
    registry.disable_service(tx, host.name, COMPUTE, None)
    places.disable(tx, host.id, disabled=False)


def disable(tx: Tx, host: Host, reason: str) -> None:
    """Place no new servers there unless its host is named; `reason` may be empty."""
    registry.disable_service(tx, host.name, COMPUTE, reason)
    places.disable(tx, host.id, disabled=True)


def force_down(tx: Tx, host: Host, down: bool) -> None:
    """Take its compute service for down, whatever it says; or believe it again."""
    registry.force_down(tx, host.name, down)


def servers_on(tx: Tx, names: Collection[str]) -> dict[str, list[str]]:
    """Ids of the servers on each host, in the order in which they were made; with one query."""
    found: dict[str, list[str]] = defaultdict(list)
    statement = select(servers.c["host"], servers.c["id"]).order_by(servers.c["number"])
    for host, server_id in tx.all(statement.where(query.any_of(servers.c["host"], sorted(names)))):
        found[host].append(server_id)
    return found
