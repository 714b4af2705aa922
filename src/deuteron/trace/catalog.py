"""The objects of the cloud as its APIs show them: for the names that people gave, and for what they mean by a word.

Rows are the dictionaries of the Network and the Compute API. Nothing here looks at a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

Row = Mapping[str, Any]

COLLECTIONS: Final = {
    "network": "networks",
    "subnet": "subnets",
    "port": "ports",
    "router": "routers",
    "floatingip": "floatingips",
    "security_group": "security_groups",
    "subnetpool": "subnetpools",
    "address_scope": "address_scopes",
    "address_group": "address_groups",
    "trunk": "trunks",
    "agent": "agents",
    "server": "servers",
}
_WORDS: Final = {"security_group": "security group", "floatingip": "floating IP", "address_scope": "address scope"}


class Catalog:
    """Rows by kind and id."""

    def __init__(self, rows: Mapping[str, Iterable[Row]] | None = None) -> None:
        """`rows` are lists by kind; a kind that is missing has none."""
        self._rows = {kind: {str(row["id"]): row for row in found} for kind, found in (rows or {}).items()}

    def all(self, kind: str) -> Iterator[Row]:
        yield from self._rows.get(kind, {}).values()

    def get(self, kind: str, id: str | None) -> Row | None:
        return self._rows.get(kind, {}).get(id or "")

    def called(self, kind: str, id: str | None) -> str:
        """`port web-1 (3f2c…)`: the kind, the name if there is one, and the id."""
        row = self.get(kind, id)
        name = str(row.get("name") or "") if row is not None else ""
        word = _WORDS.get(kind, kind)
        return f"{word} {name} ({id})" if name else f"{word} {id}"

    def name(self, kind: str, id: str) -> str:
        """The name alone, or the id of what has none."""
        row = self.get(kind, id)
        return str((row.get("name") if row is not None else None) or id)

    def named(self, kind: str, word: str) -> list[Row]:
        """Those of a kind with this id or this name."""
        found = self.get(kind, word)
        return [found] if found is not None else [row for row in self.all(kind) if row.get("name") == word]

    @cached_property
    def ports_by_address(self) -> Mapping[tuple[str, str], Row]:
        """By network and address; what only keeps the address of a floating IP is no port that answers."""
        return {
            (row["network_id"], item["ip_address"]): row
            for row in self.all("port")
            if row["device_owner"] != "network:floatingip"
            for item in row["fixed_ips"] or ()
        }

    def port_at(self, network_id: str, address: str) -> Row | None:
        return self.ports_by_address.get((network_id, address))

    def ports_of(self, device_id: str) -> list[Row]:
        return [row for row in self.all("port") if row.get("device_id") == device_id]

    def subnets_of(self, network_id: str) -> list[Row]:
        return [row for row in self.all("subnet") if row["network_id"] == network_id]

    def floating_ip(self, address: str) -> Row | None:
        return next((row for row in self.all("floatingip") if row["floating_ip_address"] == address), None)
