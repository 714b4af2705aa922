"""Codecs of what a subnet has: its prefix, and lists of addresses.

Source: neutron-lib, neutron_lib/api/converters.py (`convert_cidr_to_canonical_format`,
`convert_allocation_pools_to_canonical_format`), neutron_lib/api/validators/__init__.py (`validate_nameservers`).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from deuteron.model.codecs import MAX_ITEMS, Cidr, Invalid, IpAddress, ListOf, listed, quoted
from deuteron.model.network.codecs import Keyed, Named

MAX_DNS_NAMESERVERS: Final = 5


@dataclass(frozen=True)
class SubnetPrefix:
    """A prefix as it is written: what goes with it, and whether host bits do, a rule of the subnet says."""

    column: str = "text"
    row_type: ClassVar[str] = "Cidr"

    def decode(self, raw: Any) -> Any:
        if raw is None:
            return None
        if not isinstance(raw, str):
            raise Invalid(f"'{quoted(raw)}' is not a valid string", raw)
        try:
            ipaddress.ip_network(raw, strict=False)
        except ValueError:
            raise Named("InvalidInput", f"{quoted(raw)} is not in a CIDR format", raw) from None
        return raw

    def decode_filter(self, text: str) -> Any:
        return Cidr().decode(text)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"], "format": "cidr"}


@dataclass(frozen=True)
class NameServers:
    """Addresses of DNS servers, none twice; null is no servers, and so is any other nothing."""

    max_items: int = MAX_DNS_NAMESERVERS
    column: str = "json"
    row_type: ClassVar[str] = "Sequence[Ip]"

    def decode(self, raw: Any) -> Any:
        found: list[str] = []
        for address in [] if raw is None or raw in ("", {}) else listed(raw, self.max_items):
            try:
                text = str(ipaddress.ip_address(address if isinstance(address, str) else ""))
            except ValueError:
                reason = f"'{quoted(address)}' is not a valid nameserver. '{quoted(address)}' is not a valid IP address"
                raise Invalid(reason, raw) from None
            if text in found:
                raise Invalid(f"Duplicate nameserver '{address}'", raw)
            found.append(text)
        return found

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        items = {"type": "string", "format": "ip"}
        return {"type": ["array", "null"], "items": items, "uniqueItems": True, "maxItems": self.max_items}


@dataclass(frozen=True)
class AddressPools:
    """Ranges of addresses, each from `start` to `end`; null is what the rule says. Which there may be, it says too.

    What holds no objects at all is told from an object that is no range.
    """

    max_items: int = MAX_ITEMS
    column: str = "json"
    row_type: ClassVar[str] = "Sequence[AllocationPool]"

    def decode(self, raw: Any) -> Any:
        if raw is None or raw in ("", {}):
            return None if raw is None else []
        if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
            raise Named("InvalidInput", f"'{quoted(raw)}' is not a list of allocation pools", raw)
        return ListOf(_POOL, self.max_items).decode(raw)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {**ListOf(_POOL, self.max_items).schema(), "type": ["array", "null"]}


_POOL: Final = Keyed((("start", IpAddress()), ("end", IpAddress())))
