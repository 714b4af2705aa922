"""What policy asks of the object that a request is about: whose domain it is, a role's name. It may not be there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import Table, select

from deuteron.store.database import Tx
from deuteron.store.identity_tables import groups, projects, roles, users

_TABLES: Final[dict[str, Table]] = {"user": users, "group": groups, "project": projects}


@dataclass(frozen=True)
class Owned:
    """`domain_id` is None for what belongs to no domain: a domain, a global role."""

    name: str
    domain_id: str | None


def domain_of(tx: Tx, kind: Literal["user", "group", "project"], id: str | None) -> Owned | None:
    """Of the object with this id; None when there is none."""
    table = _TABLES[kind]
    row = tx.first(select(table.c.name, table.c.domain_id).where(table.c.id == id))
    return None if row is None else Owned(row.name, row.domain_id)


def role(tx: Tx, id: str) -> Owned | None:
    """The role with this id; None when there is none."""
    row = tx.first(select(roles.c.name, roles.c.domain_id).where(roles.c.id == id))
    return None if row is None else Owned(row.name, row.domain_id)
