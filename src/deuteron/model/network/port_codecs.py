"""Codecs of what a port may send, and what DHCP tells it.

Source: neutron-lib, neutron_lib/api/validators/allowedaddresspairs.py, neutron_lib/api/definitions/extra_dhcp_opt.py.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from deuteron.model.codecs import MAX_ITEMS, Invalid, ListOf, MacAddress, Text, TooMany, quoted
from deuteron.model.network.codecs import Choice, Keyed, Named

MAX_ADDRESS_PAIRS: Final = 10
MAY_BE_BLANK: Final = ("router", "classless-static-route")
"""DHCP options that may say nothing: the guest is told of none."""

_OPTION: Final = Keyed(
    (
        ("opt_name", Text(64, min_length=1, pattern=r"[A-Za-z0-9_+-]+")),
        ("opt_value", Text(255, nullable=True, pattern=r"[^\x00-\x1f\x7f]*")),
        ("ip_version", Choice((4, 6))),
    ),
    optional=("ip_version",),
)
"""Both become words of a line that dnsmasq reads: a line break in them would be another line (CVE-2021-40085)."""


@dataclass(frozen=True)
class AddressPairs:
    """Further addresses or prefixes of a port, each with a MAC address or, for want of one, with the port's own."""

    max_items: int = MAX_ADDRESS_PAIRS
    column: str = "json"
    row_type: ClassVar[str] = "Sequence[AddressPair]"

    def decode(self, raw: Any) -> Any:
        if raw is None:
            return []
        if not isinstance(raw, list):
            raise Named("HTTPBadRequest", "Allowed address pairs must be a list.", raw)
        if len(raw) > self.max_items:
            raise TooMany("list", len(raw), self.max_items)
        result: list[dict[str, str]] = []
        for pair in raw:
            item = _pair(pair)
            if item in result:
                raise Named(
                    "DuplicateAddressPairInRequest", f"Request contains duplicate address pair: {quoted(pair)}.", raw
                )
            result.append(item)
        return result

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        pair = {"ip_address": {"type": "string"}, "mac_address": MacAddress().schema()}
        items = {"type": "object", "properties": pair, "required": ["ip_address"], "additionalProperties": False}
        return {"type": ["array", "null"], "items": items, "maxItems": self.max_items}


def _pair(raw: Any) -> dict[str, str]:
    if not isinstance(raw, dict):
        raise Invalid(f"'{quoted(raw)}' is not a pair", raw)
    found = {}
    if "mac_address" in raw:
        MacAddress().decode(raw["mac_address"])
        found["mac_address"] = raw["mac_address"]  # Neutron tells it as it was written
    if "ip_address" not in raw:
        raise Named("AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address", raw)
    unknown = [name for name in raw if name not in ("mac_address", "ip_address")]
    if unknown:
        raise Named("HTTPBadRequest", f"Unrecognized attribute(s) '{quoted(', '.join(unknown))}'", raw)
    address = raw["ip_address"]
    try:
        parsed = ipaddress.ip_network(address if isinstance(address, str) else "", strict=False)
    except ValueError:
        raise Invalid(f"'{quoted(address)}' is not a valid IP address or IP subnet", raw) from None
    if parsed.is_multicast:
        raise Invalid(f"'{quoted(address)}' is a multicast address", raw)
    return {**found, "ip_address": str(parsed) if "/" in address else str(parsed.network_address)}


@dataclass(frozen=True)
class DhcpOptions:
    """Options that DHCP adds; null is none. Which there are, a rule of the port says."""

    max_items: int = MAX_ITEMS
    column: str = "json"
    row_type: ClassVar[str] = "Sequence[DhcpOption]"

    def decode(self, raw: Any) -> Any:
        try:
            found = ListOf(_OPTION, self.max_items, nullable=True).decode(raw)
        except TooMany:
            raise
        except Invalid as error:
            raise Named("InvalidInput", error.reason, raw) from None
        for each in found or ():
            value = each["opt_value"]
            if value is not None and not value.strip() and each["opt_name"] not in MAY_BE_BLANK:
                raise Named("InvalidInput", f"'{quoted(value)}' is blank; no value of {each['opt_name']} is", raw)
        return found

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {**ListOf(_OPTION, self.max_items).schema(), "type": ["array", "null"]}
