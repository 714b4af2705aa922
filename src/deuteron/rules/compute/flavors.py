"""Flavors: the sizes that servers come in, with extra specs and access lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, insert, or_, select, update

from deuteron.model.caller import Caller
from deuteron.model.compute import Flavor
from deuteron.model.errors import Conflict, NotFound
from deuteron.rules.compute import history
from deuteron.rules.compute.faults import invalid, no_flavor
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store import query
from deuteron.store.compute_tables import flavors
from deuteron.store.database import Tx

STARTER: Final = (
    ("42", "m1.nano", 1, 128, 1),
    ("84", "m1.micro", 1, 256, 1),
    ("1", "m1.tiny", 1, 512, 1),
    ("2", "m1.small", 1, 2048, 20),
    ("3", "m1.medium", 2, 4096, 40),
    ("4", "m1.large", 4, 8192, 80),
    ("5", "m1.xlarge", 8, 16384, 160),
)
"""Id, name, processors, MiB, GiB. Source: openstack/devstack lib/nova (`create_flavors`) and lib/tempest."""

MAX_SPECS = 128
"""Extra specs of a flavor."""


@dataclass(frozen=True)
class NewFlavor:
    """What an administrator asks for: sizes in MiB of memory and swap, and GiB of disks."""

    id: str
    name: str
    vcpus: int
    ram: int
    disk: int
    ephemeral: int = 0
    swap: int = 0
    is_public: bool = True
    description: str | None = None
    rxtx_factor: str | None = None


def bootstrap(tx: Tx) -> None:
    """The flavors of the starter kit, once: those that an administrator deleted do not come back."""
    if tx.first(select(flavors.c["id"]).limit(1)) is not None:
        return
    for id, name, vcpus, ram, disk in STARTER:
        _insert(tx, NewFlavor(id, name, vcpus, ram, disk))


def visible(caller: Caller) -> ColumnElement[bool] | None:
    """Which flavors the caller sees; None is every one."""
    if caller.is_admin:
        return None
    if caller.project_id is None:
        return flavors.c["is_public"]
    return or_(flavors.c["is_public"], query.has_word(flavors.c["projects"], caller.project_id))


def find(tx: Tx, caller: Caller, flavor_id: str) -> ServerRow:
    """The flavor that the caller names and may use. Raises: NotFound."""
    seen = visible(caller)
    row = tx.first(select(flavors).where(flavors.c["id"] == flavor_id, *(() if seen is None else (seen,))))
    if row is None:
        raise no_flavor(flavor_id)
    return row


def embedded(row: ServerRow) -> Flavor:
    """What a server keeps of it."""
    return Flavor(row.id, row.name, row.vcpus, row.ram, row.disk, row.ephemeral, row.swap, row.extra_specs or {})


def create(tx: Tx, new: NewFlavor) -> None:
    """A new flavor. Raises: Conflict."""
    if tx.first(select(flavors.c["id"]).where(flavors.c["id"] == new.id)) is not None:
        raise Conflict(f"Flavor with ID {new.id} already exists.", type="FlavorIdExists")
    if tx.first(select(flavors.c["id"]).where(flavors.c["name"] == new.name)) is not None:
        raise Conflict(f"Flavor with name {new.name} already exists.", type="FlavorExists")
    _insert(tx, new)


def describe(tx: Tx, row: ServerRow, text: str | None) -> None:
    _set(tx, row, description=text)


def remove(tx: Tx, row: ServerRow) -> None:
    tx.execute(delete(flavors).where(flavors.c["id"] == row.id))
    tx.changed("flavor", row.id, deleted=True)


def spec(row: ServerRow, key: str) -> str:
    """One extra spec. Raises: NotFound."""
    value = (row.extra_specs or {}).get(key)
    if value is None:
        raise NotFound(f"Flavor {row.id} has no extra specs with key {key}.", type="FlavorExtraSpecsNotFound")
    return str(value)


def add_specs(tx: Tx, row: ServerRow, given: Mapping[str, str]) -> None:
    """Raises: BadRequest for more than `MAX_SPECS` in all."""
    specs = {**(row.extra_specs or {}), **given}
    if len(specs) > MAX_SPECS:
        raise invalid("extra_specs", len(specs), f"at most {MAX_SPECS} extra specs are accepted")
    _set(tx, row, extra_specs=specs)


def remove_spec(tx: Tx, row: ServerRow, key: str) -> None:
    """Raises: NotFound."""
    spec(row, key)
    _set(tx, row, extra_specs={name: value for name, value in row.extra_specs.items() if name != key})


def grant(tx: Tx, row: ServerRow, project_id: str) -> None:
    """Let the project see the flavor. Raises: Conflict when it does."""
    projects = list(row.projects or ())
    if project_id in projects:
        raise Conflict(
            f"Flavor access already exists for flavor {row.id} and project {project_id} combination.",
            type="FlavorAccessExists",
        )
    _set(tx, row, projects=[*projects, project_id])


def revoke(tx: Tx, row: ServerRow, project_id: str) -> None:
    """Let the project no longer see it. Raises: NotFound when it does not."""
    projects = list(row.projects or ())
    if project_id not in projects:
        raise NotFound(f"Flavor access not found for {row.id} / {project_id} combination.", type="FlavorAccessNotFound")
    _set(tx, row, projects=[each for each in projects if each != project_id])


def _insert(tx: Tx, new: NewFlavor) -> None:
    made = {"disabled": False, "extra_specs": {}, "projects": [], "created_at": history.moment(tx.now)}
    tx.execute(insert(flavors), {**asdict(new), **made})
    tx.changed("flavor", new.id)


def _set(tx: Tx, row: ServerRow, **values: Any) -> None:
    tx.execute(update(flavors).where(flavors.c["id"] == row.id).values(**values))
    tx.changed("flavor", row.id)
