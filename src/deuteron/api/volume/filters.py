"""What lists of volumes and snapshots are filtered by, by microversion.

Who is no administrator filters by what Cinder's `resource_filters.json` names; other names are passed over, and from
3.31 on refused. A name with `~` (from 3.34 on) looks for a piece of a text.

Source: cinder/api/common.py `process_general_filtering`; etc/cinder/resource_filters.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, false, true

from deuteron.api.call import Call
from deuteron.api.volume import lists
from deuteron.model.codecs import whole_number
from deuteron.model.errors import BadRequest
from deuteron.model.resource import Resource
from deuteron.rules.volume.faults import invalid_input
from deuteron.store.expressions import contains, has_item
from deuteron.store.volume_tables import table_of

Condition = ColumnElement[bool]
Special = Mapping[str, Callable[[Sequence[str]], Condition]]

KNOWN: Final[Mapping[str, Mapping[str, int]]] = {
    "volume": {
        "name": 0, "status": 0, "metadata": 0, "bootable": 0, "migration_status": 0, "availability_zone": 0, "size": 0,
        "group_id": 10, "created_at": 60, "updated_at": 60, "consumes_quota": 65,
    },
    "volume_snapshot": {
        "name": 0, "status": 0, "volume_id": 0, "metadata": 22, "consumes_quota": 65,
    },
    "volume_attachment": {"volume_id": 27, "status": 27, "instance_id": 27, "attach_status": 27},
    "backup": {"name": 0, "status": 0, "volume_id": 0},
    "volume_group": {"name": 0},
    "group_snapshot": {"name": 0, "status": 0, "group_id": 0},
}  # fmt: skip
"""Names, and the microversion in which each came."""
_ADMINISTRATORS: Final = ("host", "user_id", "project_id", "id", "snapshot_id", "source_volid", "volume_type_id")
NEVER: Final = 1000
"""A microversion that never comes."""
_CONTROLS: Final = frozenset(
    {"limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants", "with_count", "list_volume"}
)
_TRUE: Final = ("true", "t", "1", "yes", "y", "on")
_FALSE: Final = ("false", "f", "0", "no", "n", "off")
_COMPARED: Final = ("gt", "gte", "lt", "lte", "eq", "neq")


def known(call: Call, resource: Resource[Any]) -> list[str]:
    """Names that act. Raises: BadRequest from 3.31 on for others, unless an administrator asks."""
    names = [name for name, since in KNOWN[resource.name].items() if call.version >= since]
    if call.caller.is_admin:
        return [*names, *(name for name in _ADMINISTRATORS if name in resource.by_name)]
    asked = {name.removesuffix("~") if call.version >= 34 else name for name, _ in call.query}
    unknown = sorted(asked - {*names} - _CONTROLS)
    if call.version >= 31 and unknown:
        raise BadRequest(
            f"Invalid filters {', '.join(unknown)[:200]} are found in query options.", type="HTTPBadRequest"
        )
    return names


def special(call: Call, resource: Resource[Any]) -> Special:
    """Filters that are more than a comparison."""
    table = table_of(resource)

    def metadata(texts: Sequence[str]) -> Condition:
        pairs = lists.pairs_of("metadata", texts[0])
        return and_(true(), *(has_item(table.c.metadata, key, value) for key, value in pairs.items()))

    found: dict[str, Callable[[Sequence[str]], Condition]] = {}
    if call.version >= KNOWN[resource.name].get("metadata", NEVER):
        found["metadata"] = metadata
    if call.version >= 34:
        for name in ("name", "description", "status"):
            if name in table.c:
                found[f"{name}~"] = partial(_holding, table.c[name])
    if call.version >= KNOWN[resource.name].get("consumes_quota", NEVER):
        found["consumes_quota"] = lambda texts: true() if _boolean("consumes_quota", texts[0]) else false()
    if resource.name == "volume_attachment":
        found["instance_id"] = lambda texts: table.c.instance == texts[0]
        found["attach_status"] = lambda texts: table.c.status == texts[0]
    if resource.name == "volume":
        found["bootable"] = lambda texts: table.c.bootable == _bootable(call, texts[0])
        found["size"] = lambda texts: table.c.size == _number("size", texts[0])
        if call.version >= 10:
            found["group_id"] = lambda texts: table.c.group_id == texts[0]
        if call.version >= 60:
            for name in ("created_at", "updated_at"):
                found[name] = partial(_times, name, table.c[name])
    return found


def _holding(column: ColumnElement[Any], texts: Sequence[str]) -> Condition:
    return contains(column, texts[0])


def _bootable(call: Call, text: str) -> bool:
    """Before 3.2 anything that is not false was true."""
    if text.lower() in _FALSE:
        return False
    if text.lower() not in _TRUE and call.version >= 2:
        raise invalid_input(f"'bootable = {text[:80]}' is neither true nor false")
    return True


def _boolean(name: str, text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise invalid_input(f"'{name} = {text[:80]}' is neither true nor false")
    return text.lower() in _TRUE


def _number(name: str, text: str) -> int:
    number = whole_number(text)
    if number is None:
        raise invalid_input(f"'{name} = {text[:80]}' is no whole number")
    return number


def _times(name: str, column: ColumnElement[Any], texts: Sequence[str]) -> Condition:
    """`gt:2026-01-31T12:00:00,lt:…`: all of them have to hold. Raises: BadRequest."""
    parts = []
    for each in texts[0].split(","):
        operator, _, moment = each.partition(":")
        if operator not in _COMPARED:
            raise BadRequest(f"Invalid {operator[:40]} operator in {name}", type="HTTPBadRequest")
        at = lists.moment_of(name, moment)
        compare: Mapping[str, Condition] = {
            "gt": column > at, "gte": column >= at, "lt": column < at, "lte": column <= at, "eq": column == at,
            "neq": column != at,
        }  # fmt: skip
        parts.append(compare[operator])
    return and_(*parts)
