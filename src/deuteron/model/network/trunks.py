"""Trunks: ports that share the device of one, told apart by VLAN tags.

Source: neutron-lib, neutron_lib/api/definitions/trunk.py and trunk_details.py, neutron_lib/api/validators
(`validate_subports`); neutron/conf/policies/trunk.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from deuteron.model.codecs import Anything, Integer, Invalid, TooMany, Uuid, is_uuid, quoted
from deuteron.model.network.shared import (
    ADMIN_STATE,
    DESCRIPTION,
    ID,
    NAME,
    PROJECT_ID,
    READ,
    STANDARD,
    STATUS,
    TENANT_ID,
    WRITE,
)
from deuteron.model.resource import REQUIRED, Attribute, Extension, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import TrunkRow

MAX_SUBPORTS: Final = 100
"""Of one trunk: all are bound in the turn of the writer that binds the parent, at some 0.3 ms each. Neutron has no
bound."""
VLAN: Final = "vlan"
INHERIT: Final = "inherit"
SUBPORT_OWNER: Final = "trunk:subport"
_FIELDS: Final = ("port_id", "segmentation_type", "segmentation_id")


@dataclass(frozen=True)
class SubPorts:
    """Subports as a body says them: each names a port, and how its frames are told from others.

    What is said of segmentation is judged by rules, which know the port's network.
    """

    max_items: int = MAX_SUBPORTS
    column: str = "json"
    row_type: ClassVar[str] = "Sequence[SubPort]"

    def decode(self, raw: Any) -> Any:
        if not isinstance(raw, list):
            raise Invalid(f"Invalid data format for subports: '{quoted(raw)}' is not a list", raw)
        if len(raw) > self.max_items:
            raise TooMany("list", len(raw), self.max_items)
        found: dict[str, dict[str, Any]] = {}
        tags: set[tuple[str, str]] = set()
        for item in raw:
            if not isinstance(item, dict):
                raise Invalid(f"Invalid data format for subport: '{quoted(item)}' is not a dict", raw)
            if unknown := [name for name in item if name not in _FIELDS]:
                raise Invalid(f"Unexpected keys supplied: {quoted(', '.join(unknown))}", raw)
            if "port_id" not in item:
                raise Invalid("A valid port UUID must be specified", raw)
            port_id, kind, tag = (item.get(name) for name in _FIELDS)
            if not isinstance(port_id, str) or not is_uuid(port_id):
                raise Invalid(f"Invalid UUID for subport: '{quoted(port_id)}'", raw)
            if port_id in found:
                raise Invalid(f"Non unique UUID for subport: '{port_id}'", raw)
            found[port_id] = item
            if kind == INHERIT:
                continue
            if (not kind or tag is None) and len(item) > 1:
                raise Invalid(
                    f"Invalid subport details '{quoted(item)}': missing segmentation information. Must specify both "
                    "segmentation_id and segmentation_type",
                    raw,
                )
            if tag is not None:
                if (str(kind), repr(tag)) in tags:
                    raise Invalid(f"Segmentation ID '{quoted(tag)}' for '{port_id}' is not unique", raw)
                tags.add((str(kind), repr(tag)))
        return list(found.values())

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        item = {
            "type": "object",
            "properties": {
                "port_id": Uuid().schema(),
                "segmentation_type": {"type": "string", "enum": [VLAN, INHERIT]},
                "segmentation_id": Integer(1, 4094).schema(),
            },
            "required": ["port_id"],
            "additionalProperties": False,
        }
        return {"type": "array", "items": item, "maxItems": self.max_items}


# fmt: off
TRUNK: Resource[TrunkRow] = Resource(
    service="network",
    name="trunk",
    collection="trunks",
    missing=("TrunkNotFound", "Trunk {} could not be found."),
    description="Ports that share the device of one, told apart by VLAN tags.",
    attributes=(
        replace(ADMIN_STATE, description="Whether it may be changed."),
        ID,
        PROJECT_ID,
        NAME,
        Attribute("port_id", Uuid(), "Its parent: the port with the device.", default=REQUIRED, create=True,
                  refers_to="port"),
        STATUS,
        Attribute("sub_ports", SubPorts(), "Its other ports; add_subports and remove_subports change them.",
                  default=[], create=True, filter=False, sort=False),
        DESCRIPTION,
        *STANDARD,
        TENANT_ID,
    ),
    indexes=(("project_id",), ("name",)),
    unique=(("port_id",),),
    rules={"create": WRITE, "get": READ, "update": WRITE, "delete": WRITE},
    made_at_once=True,
    quota=-1,
)

_DETAILS = Attribute("trunk_details", Anything(), "The trunk that it is the parent of, with its subports.",
                     stored=False, filter=False, sort=False)

EXTENSIONS: Final = {
    "trunk": Extension("Trunk Extension", "Ports that share a device.", "2016-01-01T10:00:00-00:00"),
    "trunk-details": Extension(
        "Trunk port details", "A parent port shows its trunk.", "2016-01-01T10:00:00-00:00",
        attributes={"port": (_DETAILS,)},
    ),
}
# fmt: on
