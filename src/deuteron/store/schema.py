"""The tables: one per resource declaration, plus those that hold relations and constraints.

`table_for(resource)` makes the table of a declaration: a column for each stored attribute (text, integer,
boolean, JSON), with `id` as key. Constraint tables (address allocations, segment allocations, role
assignments, …) are declared by the store module of their service and register in `metadata` on import.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Dialect, Index, Integer, MetaData, Table, Text, UniqueConstraint
from sqlalchemy.types import TypeDecorator

from deuteron.model.resource import Attribute, Resource, RowT, is_nullable

metadata = MetaData()

if TYPE_CHECKING:

    class TableOf(Table, Generic[RowT]):
        """A table of which types know what its rows hold; at run time it is a table like any other."""

else:
    TableOf = Table


class Json(TypeDecorator[Any]):
    """JSON in a text column, encoded by msgspec. None is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else msgspec.json.decode(value)

    def process_literal_param(self, value: Any, dialect: Dialect) -> str:
        return json.dumps(value)


_COLUMN_TYPES: dict[str, Any] = {"text": Text, "integer": BigInteger, "boolean": Boolean, "json": Json}

changes = Table(
    "changes",
    metadata,
    Column("revision", Integer, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
)
"""What each revision touched."""


def table_for(resource: Resource[RowT], *extra: Column[Any]) -> TableOf[RowT]:
    """The table of a declaration; `extra` columns hold what no answer shows. Call once, when a store module loads."""
    columns = [_column(each, each.name != "id") for each in resource.attributes if each.stored]
    columns += [_column(each, is_nullable(each)) for each in resource.hidden]
    table: TableOf[RowT] = TableOf(resource.table_name, metadata, *columns, *extra)
    for names in resource.indexes:
        Index(f"ix_{resource.table_name}_{'_'.join(names)}".replace(":", "_"), *(table.c[name] for name in names))
    for names in resource.unique:
        table.append_constraint(
            UniqueConstraint(*(table.c[name] for name in names), name=f"uq_{resource.table_name}_{'_'.join(names)}")
        )
    return table


def _column(attribute: Attribute, nullable: bool) -> Column[Any]:
    return Column(
        (attribute.column or attribute.name).replace(":", "_"),
        _COLUMN_TYPES[attribute.codec.column],
        key=attribute.name,
        primary_key=attribute.name == "id",
        nullable=nullable,
    )
