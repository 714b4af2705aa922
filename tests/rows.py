"""Whether the rows of a store are what their types say: types are promises that no program keeps at run time."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from typing_extensions import get_type_hints, is_typeddict

from deuteron.model import rows
from deuteron.store import query
from deuteron.store.database import Database
from deuteron.store.schema import metadata


def check(database: Database) -> int:
    """How many rows of declared kinds there are.

    Raises: AssertionError for a value that is not of its column's type.
    """
    seen, wrong = 0, list[str]()
    with database.read() as tx:
        for service, resources in rows.SERVICES.items():
            module = import_module(rows.module_of(service))
            for resource in resources:
                row_type = getattr(module, rows.row_name(resource))
                for row in query.rows(tx, metadata.tables[resource.table_name]):
                    seen += 1
                    wrong += unlike(row, row_type, resource.name)
    if wrong:
        raise AssertionError("\n".join(wrong))
    return seen


def unlike(value: Any, expected: Any, path: str) -> Iterator[str]:
    """What of the value is not of the type, with the way to it."""
    expected = getattr(expected, "__supertype__", expected)
    origin = typing.get_origin(expected)
    if expected is Any:
        return
    if origin in (types.UnionType, typing.Union):
        if all(list(unlike(value, each, path)) for each in typing.get_args(expected)):
            yield f"{path}: {value!r} is none of {expected}"
    elif origin is typing.Literal:
        if value not in typing.get_args(expected):
            yield f"{path}: {value!r} is none of {expected}"
    elif is_typeddict(expected):
        hints = get_type_hints(expected)
        if not isinstance(value, dict) or value.keys() != hints.keys():
            yield f"{path}: {value!r} has not the keys of {expected.__name__}"
            return
        for name, hint in hints.items():
            yield from unlike(value[name], hint, f"{path} {name}")
    elif origin is Sequence:
        if not isinstance(value, list):
            yield f"{path}: {value!r} is no list"
            return
        (item,) = typing.get_args(expected)
        for each in value:
            yield from unlike(each, item, path)
    elif origin is Mapping:
        if not isinstance(value, dict):
            yield f"{path}: {value!r} is no object"
    elif type(value) is not expected:
        yield f"{path}: {value!r} is no {expected.__name__}"
