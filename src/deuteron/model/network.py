"""Declarations of the Network v2.0 API: what Neutron's resources are, each said once.

Attributes stand in the order Neutron's answers list them. What an answer may show to whom is in the
`*_rule`s, under Neutron's own policy names (`get_port:binding:host_id`); what holds across attributes is
code in `deuteron.api.network`.

Source: neutron-lib, neutron_lib/api/definitions/*.py; answers recorded from Neutron 29.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, Final

from deuteron.model.codecs import (
    MAX_ITEMS,
    Anything,
    Boolean,
    Cidr,
    Codec,
    Integer,
    Invalid,
    IpAddress,
    ListOf,
    MacAddress,
    Object,
    OneOf,
    Text,
    TooMany,
    Uuid,
    listed,
    quoted,
)
from deuteron.model.resource import REQUIRED, Attribute, Resource

NAME_LENGTH: Final = 255
MAX_DNS_NAMESERVERS: Final = 5
MAX_HOST_ROUTES: Final = 20
MAX_ROUTES: Final = 30
MAX_ADDRESS_PAIRS: Final = 10
"""Source of these: neutron/conf/common.py, neutron/conf/db/extraroute_db.py, neutron/conf/extensions/*.py."""
MAX_FIXED_IPS: Final = 64
MAX_PREFIXES: Final = 256
MAX_PROFILE_BYTES: Final = 4095
"""Of `binding:profile` as JSON. Source: neutron/plugins/ml2/models.py, BINDING_PROFILE_LEN."""
ADMIN: Final = "rule:admin_only"
NET_OWNER_MEMBER: Final = "rule:admin_or_net_owner_member"
SERVICE: Final = "rule:service_api"
ADMIN_OR_SERVICE: Final = f"{ADMIN} or {SERVICE}"
PORT_WIRING: Final = f"{NET_OWNER_MEMBER} or {SERVICE}"
"""Where a port is plugged in, and with which addresses: the network's owner, and services that plug in for others."""
OWN_MANAGER: Final = f"{ADMIN} or (role:manager and project_id:%(project_id)s)"


# --- codecs that only networks need -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keyed:
    """A JSON object whose keys are exactly `fields`, with Neutron's words when they are not."""

    fields: tuple[tuple[str, Codec], ...]
    optional: tuple[str, ...] = ()
    column: str = "json"

    def decode(self, raw: Any) -> Any:
        if not isinstance(raw, dict):
            raise Invalid(f"'{quoted(raw)}' is not a dictionary", raw)
        if len(raw) > MAX_ITEMS:
            raise TooMany("dictionary", len(raw), MAX_ITEMS)
        known = dict(self.fields)
        expected = {name for name in known if name not in self.optional}
        if not expected <= set(raw) <= set(known):
            raise Invalid(
                "Validation of dictionary's keys failed. "
                f"Expected keys: {_braced(expected)} Provided keys: {_braced(set(raw))}",
                raw,
            )
        result = {}
        for name, codec in self.fields:
            if name in raw:
                try:
                    result[name] = codec.decode(raw[name])
                except Invalid as error:
                    raise error.inside(name) from None
        return result

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return Object(dict(self.fields), required=tuple(n for n, _ in self.fields if n not in self.optional)).schema()


@dataclass(frozen=True)
class NameServers:
    """Addresses of DNS servers, none twice; null is no servers."""

    max_items: int = MAX_DNS_NAMESERVERS
    column: str = "json"

    def decode(self, raw: Any) -> Any:
        found: list[str] = []
        for address in [] if raw is None else listed(raw, self.max_items):
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
class Routes:
    """Routes as pairs of destination and next hop, none twice; null is no routes."""

    max_items: int
    column: str = "json"

    def decode(self, raw: Any) -> Any:
        item = Keyed((("destination", ExactCidr()), ("nexthop", IpAddress())))
        result: dict[tuple[str, str], dict[str, str]] = {}
        for route in [] if raw is None else listed(raw, self.max_items):
            decoded = item.decode(route)
            key = decoded["destination"], decoded["nexthop"]
            if key in result:
                raise Invalid(f"Duplicate hostroute '{quoted(route)}'", raw)
            result[key] = decoded
        return list(result.values())

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        item = Keyed((("destination", ExactCidr()), ("nexthop", IpAddress())))
        return {**ListOf(item, self.max_items).schema(), "type": ["array", "null"]}


@dataclass(frozen=True)
class ExactCidr:
    """A prefix without host bits."""

    column: str = "text"

    def decode(self, raw: Any) -> Any:
        try:
            network = ipaddress.ip_network(raw if isinstance(raw, str) else "", strict=False)
        except ValueError:
            raise Invalid(f"'{quoted(raw)}' is not a valid IP subnet", raw) from None
        if "/" not in raw or str(network) != _lowered(raw):
            raise Invalid(f"'{quoted(raw)}' isn't a recognized IP subnet cidr, '{network}' is recommended", raw)
        return str(network)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "cidr"}


@dataclass(frozen=True)
class FixedIps:
    """What a client asks of a port's addresses: each names a subnet, an address, or both."""

    max_items: int = MAX_FIXED_IPS
    column: str = "json"

    def decode(self, raw: Any) -> Any:
        if raw is None:
            raise Invalid(f"Invalid data format for fixed IP: '{raw}'", raw)
        result: list[dict[str, str]] = []
        seen: set[str] = set()
        for item in listed(raw, self.max_items):
            if not isinstance(item, dict):
                raise Invalid(f"Invalid data format for fixed IP: '{quoted(item)}'", raw)
            wanted: dict[str, str] = {}
            for name, value in item.items():
                if name == "ip_address":
                    wanted[name] = IpAddress().decode(value)
                elif name == "subnet_id":
                    wanted[name] = Uuid().decode(value)
                else:
                    raise Invalid(f"Invalid data format for fixed IP: '{quoted(item)}'", raw)
            if not wanted:
                raise Invalid(f"Invalid data format for fixed IP: '{quoted(item)}'", raw)
            address = wanted.get("ip_address")
            if address is not None:
                if address in seen:
                    raise Invalid(f"Duplicate IP address '{address}'", raw)
                seen.add(address)
            result.append(wanted)
        return result

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return ListOf(Object({"subnet_id": Uuid(), "ip_address": IpAddress()}), self.max_items).schema()


@dataclass(frozen=True)
class GatewayInfo:
    """A router's way outside; null and an empty object are none. What is not built has no key here."""

    max_items: int = MAX_ITEMS
    column: str = "json"

    def decode(self, raw: Any) -> Any:
        if not raw and not isinstance(raw, str | bool | int):
            return None
        if not isinstance(raw, dict):
            raise Invalid(f"'{quoted(raw)}' is not a dictionary", raw)
        if len(raw) > self.max_items:
            raise TooMany("dictionary", len(raw), self.max_items)
        unknown = [name for name in raw if name not in _GATEWAY_FIELDS]
        if unknown:
            raise Invalid(f"Unexpected keys supplied: {', '.join(unknown)}", raw)
        if "network_id" not in raw:
            raise Invalid(
                "Validation of dictionary's keys failed. "
                f"Expected keys: {_braced({'network_id'})} Provided keys: {_braced(set(raw))}",
                raw,
            )
        return {name: codec.decode(raw[name]) for name, codec in _GATEWAY_FIELDS.items() if name in raw}

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return Object(_GATEWAY_FIELDS, required=("network_id",), nullable=True).schema()


_GATEWAY_FIELDS: Final[dict[str, Codec]] = {
    "network_id": Uuid(),
    "enable_snat": Boolean(),
    "external_fixed_ips": FixedIps(),
}


@dataclass(frozen=True)
class UuidList:
    """Ids; one that is named twice counts once, as clients add to what is there without looking."""

    nullable: bool = False
    max_items: int = MAX_ITEMS
    column: str = "json"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        found: dict[str, None] = {}
        for item in listed(raw, self.max_items):
            found[Uuid().decode(item)] = None
        return list(found)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return ListOf(Uuid(), self.max_items, unique=True).schema()


@dataclass(frozen=True)
class ServiceTypes:
    """Beginnings of device owners; null is none. Which ones there are, a rule of the subnet says."""

    column: str = "json"

    def decode(self, raw: Any) -> Any:
        return [] if raw is None else ListOf(Text(255), unique=True).decode(raw)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {**ListOf(Text(255), unique=True).schema(), "type": ["array", "null"]}


@dataclass(frozen=True)
class GivenText:
    """Text that a rule of the resource judges, not the codec: its errors have names of their own."""

    nullable: bool = True
    column: str = "text"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        if isinstance(raw, bool) or not isinstance(raw, str | int):
            raise Invalid(f"'{quoted(raw)}' is not a valid string", raw)
        return Text(max_length=NAME_LENGTH).decode(str(raw))

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer", "null"]}


@dataclass(frozen=True)
class ProjectId:
    """The owner. Not checked for existence: identity may be another system."""

    column: str = "text"

    def decode(self, raw: Any) -> Any:
        return Text(max_length=255).decode(raw)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


@dataclass(frozen=True)
class Choice:
    """One of `values`, taken as text or number."""

    values: tuple[int, ...]
    column: str = "integer"

    def decode(self, raw: Any) -> Any:
        value = Integer().decode(raw)
        if value not in self.values:
            raise Invalid(f"'{quoted(raw)}' is not in {list(self.values)}", raw)
        return value

    def decode_filter(self, text: str) -> Any:
        return Integer().decode(text)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "enum": list(self.values)}


def _lowered(text: str) -> str:
    address, _, length = text.partition("/")
    try:
        return f"{ipaddress.ip_address(address)}/{int(length)}"
    except ValueError:
        return text


def _braced(names: set[str]) -> str:
    return "{" + ", ".join(f"'{name}'" for name in sorted(names, reverse=True)) + "}"


# One attribute is one thought: it stands on as few lines as it needs.
# fmt: off
# --- attributes that several resources share ----------------------------------------------------------------------

ID = Attribute("id", Uuid(), "The id.")
NAME = Attribute("name", Text(NAME_LENGTH), "A name; it need not be unique.", default="", create=True, update=True)
DESCRIPTION = Attribute("description", Text(255), "Words for people.", default="", create=True, update=True)
PROJECT_ID = Attribute("project_id", ProjectId(), "The project that owns it.", create=True)
TENANT_ID = Attribute("tenant_id", ProjectId(), "The older name of project_id.", stored=False)
ADMIN_STATE = Attribute(
    "admin_state_up", Boolean(), "Whether it should carry traffic.", default=True, create=True, update=True
)
SHARED = Attribute(
    "shared", Boolean(), "Whether every project may use it.", default=False, create=True, update=True,
    create_rule=ADMIN, update_rule=ADMIN,
)
STATUS = Attribute("status", Text(), "What the hosts report.")
ZONE_HINTS = Attribute("availability_zone_hints", ListOf(Text(255)), "Zones asked for.", default=[], create=True)
ZONES = Attribute("availability_zones", ListOf(Text(255)), "Zones where it is served.", default=[])
STANDARD: tuple[Attribute, ...] = (
    Attribute("tags", ListOf(Text(255)), "Words to find it by; set at /tags.", default=[]),
    Attribute("created_at", Text(), "When it was made, UTC."),
    Attribute("updated_at", Text(), "When it last changed, UTC."),
    Attribute("revision_number", Integer(), "Grows with each change."),
)

# --- resources ----------------------------------------------------------------------------------------------------

NETWORK = Resource(
    service="network",
    name="network",
    collection="networks",
    description="An isolated layer 2 segment.",
    attributes=(
        ID,
        NAME,
        PROJECT_ID,
        TENANT_ID,
        ADMIN_STATE,
        Attribute("mtu", Integer(minimum=0), "Largest IP packet in bytes; 0 asks for the computed one.", default=0,
                  create=True, update=True),
        STATUS,
        Attribute("subnets", ListOf(Uuid()), "Its subnets.", default=[], filter=False, sort=False),
        SHARED,
        ZONE_HINTS,
        ZONES,
        Attribute("ipv4_address_scope", Uuid(nullable=True), "Its IPv4 address scope."),
        Attribute("ipv6_address_scope", Uuid(nullable=True), "Its IPv6 address scope."),
        Attribute("router:external", Boolean(), "Whether it leads outside: floating IPs come from it.", default=False,
                  create=True, update=True, create_rule=ADMIN, update_rule=ADMIN, column="router_external"),
        DESCRIPTION,
        Attribute("port_security_enabled", Boolean(), "The default for its ports.", default=True, create=True,
                  update=True),
        Attribute("is_default", Boolean(), "Whether it is the default external network.", default=False, create=True,
                  update=True, create_rule=ADMIN, update_rule=ADMIN),
        *STANDARD,
        Attribute("provider:network_type", Text(32), "flat, local, vlan, vxlan, gre or geneve.",
                  create=True, update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN),
        Attribute("provider:physical_network", Text(64), "Which physical network carries it.",
                  create=True, update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN),
        Attribute("provider:segmentation_id", Integer(), "VLAN tag or tunnel id.", create=True,
                  update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN),
    ),
    indexes=(("project_id",), ("name",)),
)

SUBNET = Resource(
    service="network",
    name="subnet",
    collection="subnets",
    description="A block of addresses on a network.",
    attributes=(
        ID,
        NAME,
        PROJECT_ID,
        TENANT_ID,
        Attribute("network_id", Uuid(), "Its network.", default=REQUIRED, create=True),
        Attribute("ip_version", Choice((4, 6)), "4 or 6.", default=REQUIRED, create=True),
        Attribute("subnetpool_id", Uuid(nullable=True), "The pool its prefix came from.", create=True),
        Attribute("enable_dhcp", Boolean(), "Whether DHCP serves it.", default=True, create=True, update=True),
        Attribute("ipv6_ra_mode", OneOf(("dhcpv6-stateful", "dhcpv6-stateless", "slaac", None)),
                  "How routers advertise it.", create=True),
        Attribute("ipv6_address_mode", OneOf(("dhcpv6-stateful", "dhcpv6-stateless", "slaac", None)),
                  "How guests get their addresses.", create=True),
        Attribute("gateway_ip", IpAddress(nullable=True), "The gateway; the first address unless told.", create=True,
                  update=True),
        Attribute("cidr", GivenText(), "Its prefix; host bits are cut off.", create=True),
        Attribute("allocation_pools", Anything(), "Ranges that addresses are taken from.", create=True, update=True,
                  filter=False, sort=False),
        Attribute("host_routes", Routes(MAX_HOST_ROUTES), "Routes that DHCP announces.", default=[], create=True,
                  update=True, filter=False, sort=False),
        Attribute("dns_nameservers", NameServers(), "DNS servers that DHCP announces.", default=[], create=True,
                  update=True, filter=False, sort=False),
        DESCRIPTION,
        Attribute("router:external", Boolean(), "Whether its network leads outside.", column="router_external"),
        Attribute("service_types", ServiceTypes(), "Device owners it is kept for.", default=[], create=True,
                  update=True, filter=False, sort=False),
        *STANDARD,
        Attribute("prefixlen", Integer(0, 128), "Length of a prefix to take from the pool.", create=True, read=False,
                  stored=False),
        Attribute("use_default_subnetpool", Boolean(), "Whether to take it from the default pool.", default=False,
                  create=True, read=False, stored=False),
    ),
    indexes=(("network_id",), ("project_id",), ("name",), ("subnetpool_id",)),
)

ALLOWED_PAIR: Final = Keyed((("mac_address", MacAddress()), ("ip_address", Anything())), optional=("mac_address",))
DHCP_OPTION: Final = Keyed(
    (
        ("opt_name", Text(64, min_length=1, pattern=r"[A-Za-z0-9_+-]+")),
        ("opt_value", Text(255, nullable=True, pattern=r"[^\x00-\x1f\x7f]*")),
        ("ip_version", Choice((4, 6))),
    ),
    optional=("ip_version",),
)
"""Both become words of a line that dnsmasq reads: a line break in them would be another line (CVE-2021-40085)."""
VNIC_TYPES: Final = ("normal", "direct", "direct-physical", "macvtap", "baremetal", "virtio-forwarder", "vdpa",
                     "smart-nic", "remote-managed", "accelerator-direct", "accelerator-direct-physical")

PORT = Resource(
    service="network",
    name="port",
    collection="ports",
    description="A place on a network where something is plugged in.",
    attributes=(
        ID,
        NAME,
        Attribute("network_id", Uuid(), "Its network.", default=REQUIRED, create=True),
        PROJECT_ID,
        TENANT_ID,
        Attribute("mac_address", MacAddress(nullable=True), "Its MAC address; made unless given.", create=True,
                  update=True, create_rule=PORT_WIRING,
                  update_rule=f"{ADMIN_OR_SERVICE} or (role:manager and rule:network_owner)"),
        ADMIN_STATE,
        STATUS,
        Attribute("device_id", Text(255), "What is plugged in.", default="", create=True, update=True),
        Attribute("device_owner", Text(255), "What kind of thing is plugged in.", default="", create=True,
                  update=True),
        Attribute("fixed_ips", FixedIps(), "Its addresses.", create=True, update=True, sort=False),
        Attribute("allowed_address_pairs", Anything(MAX_ADDRESS_PAIRS), "Further addresses it may send from.",
                  default=[], create=True, update=True, create_rule=PORT_WIRING, update_rule=PORT_WIRING,
                  filter=False, sort=False),
        Attribute("extra_dhcp_opts", ListOf(DHCP_OPTION, nullable=True), "Options DHCP adds for it.", default=[],
                  create=True, update=True, filter=False, sort=False),
        Attribute("security_groups", UuidList(nullable=True), "Its groups; the default group unless told.",
                  create=True, update=True, sort=False),
        DESCRIPTION,
        Attribute("binding:vnic_type", OneOf(VNIC_TYPES), "How it is to be plugged.", default="normal", create=True,
                  update=True),
        Attribute("binding:profile", Object({}, nullable=True), "Words for the mechanism: none has any yet.",
                  default={}, create=True, update=True, create_rule=SERVICE, update_rule=SERVICE,
                  read_rule=ADMIN_OR_SERVICE,
                  filter=False, sort=False),
        Attribute("binding:host_id", Text(255, nullable=True), "The host where it is plugged.", default="",
                  create=True, update=True, create_rule=ADMIN_OR_SERVICE, update_rule=ADMIN_OR_SERVICE,
                  read_rule=ADMIN_OR_SERVICE),
        Attribute("binding:vif_type", Text(64), "How it was plugged: ovs, unbound or binding_failed.",
                  read_rule=ADMIN_OR_SERVICE),
        Attribute("binding:vif_details", Object({}, open=True), "What the plugging needs to know.",
                  read_rule=ADMIN_OR_SERVICE, default={}, filter=False, sort=False),
        Attribute("port_security_enabled", Boolean(), "Whether groups and anti-spoofing apply.", create=True,
                  update=True, create_rule=PORT_WIRING, update_rule=PORT_WIRING),
        *STANDARD,
    ),
    # With the id behind it, a page of one network's ports comes in order without sorting them all.
    indexes=(("network_id", "id"), ("project_id",), ("device_id",), ("binding:host_id",), ("name",)),
    unique=(("network_id", "mac_address"),),
)

ROUTER = Resource(
    service="network",
    name="router",
    collection="routers",
    description="A router between subnets and to the outside.",
    attributes=(
        ID,
        NAME,
        PROJECT_ID,
        TENANT_ID,
        ADMIN_STATE,
        STATUS,
        Attribute("external_gateway_info", GatewayInfo(), "Its way outside.", create=True, update=True, filter=False,
                  sort=False),
        DESCRIPTION,
        ZONES,
        Attribute("distributed", Boolean(nullable=True), "Whether it runs on every host.", default=False,
                  create=True, update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN),
        Attribute("ha", Boolean(nullable=True), "Whether it runs on several hosts.", default=False,
                  create=True, update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN),
        ZONE_HINTS,
        Attribute("routes", Routes(MAX_ROUTES), "Further routes.", default=[], update=True, filter=False, sort=False),
        Attribute("flavor_id", Uuid(nullable=True), "Its flavor."),
        *STANDARD,
    ),
    indexes=(("project_id",), ("name",)),
)

FLOATINGIP = Resource(
    service="network",
    name="floatingip",
    collection="floatingips",
    description="An address outside that leads to an address inside.",
    attributes=(
        ID,
        TENANT_ID,
        PROJECT_ID,
        Attribute("floating_ip_address", IpAddress(nullable=True), "The address outside.", create=True,
                  create_rule=OWN_MANAGER),
        Attribute("floating_network_id", Uuid(), "The external network.", default=REQUIRED, create=True),
        Attribute("router_id", Uuid(nullable=True), "The router that translates."),
        Attribute("port_id", Uuid(nullable=True), "The port inside.", create=True, update=True),
        Attribute("fixed_ip_address", IpAddress(nullable=True), "The address inside.", create=True, update=True),
        STATUS,
        DESCRIPTION,
        Attribute("port_details", Anything(), "The port inside, in short.", stored=False, filter=False, sort=False),
        *STANDARD,
        Attribute("subnet_id", Uuid(nullable=True), "The external subnet to take the address from.", create=True,
                  read=False, stored=False),
    ),
    indexes=(("project_id",), ("port_id",), ("router_id",), ("floating_network_id",), ("floating_ip_address",)),
)

SECURITY_GROUP = Resource(
    service="network",
    name="security_group",
    collection="security-groups",
    description="Rules for what may reach and leave its ports.",
    attributes=(
        ID,
        NAME,
        Attribute("stateful", Boolean(), "Whether answers are let through.", default=True, create=True, update=True),
        TENANT_ID,
        PROJECT_ID,
        DESCRIPTION,
        Attribute("shared", Boolean(), "Whether another project shares it.", default=False),
        Attribute("security_group_rules", Anything(), "Its rules.", stored=False, filter=False, sort=False),
        *STANDARD,
    ),
    indexes=(("project_id",), ("name",)),
)

SECURITY_GROUP_RULE = Resource(
    service="network",
    name="security_group_rule",
    collection="security-group-rules",
    description="One thing that a security group lets through.",
    attributes=(
        ID,
        PROJECT_ID,
        Attribute("security_group_id", Text(36), "Its group.", default=REQUIRED, create=True),
        Attribute("ethertype", GivenText(), "IPv4 or IPv6.", default="IPv4", create=True),
        Attribute("direction", OneOf(("ingress", "egress")), "ingress or egress.", default=REQUIRED, create=True),
        Attribute("protocol", GivenText(), "Name or number; null is any.", create=True),
        Attribute("port_range_min", Integer(nullable=True), "First port, or ICMP type.", create=True),
        Attribute("port_range_max", Integer(nullable=True), "Last port, or ICMP code.", create=True),
        Attribute("remote_ip_prefix", GivenText(), "Addresses on the other side.", create=True),
        Attribute("remote_address_group_id", Uuid(nullable=True), "An address group on the other side.", create=True),
        Attribute("normalized_cidr", Cidr(nullable=True), "remote_ip_prefix without host bits."),
        Attribute("remote_group_id", GivenText(), "A security group on the other side.", create=True),
        Attribute("belongs_to_default_sg", Boolean(), "Whether its group is the project's default."),
        Attribute("description", Text(255), "Words for people.", default="", create=True),
        *STANDARD,
        TENANT_ID,
    ),
    indexes=(("project_id",), ("remote_group_id",)),
)

SUBNETPOOL = Resource(
    service="network",
    name="subnetpool",
    collection="subnetpools",
    description="Prefixes that subnets are taken from.",
    attributes=(
        ID,
        Attribute("name", Text(NAME_LENGTH), "A name.", default=REQUIRED, create=True, update=True),
        PROJECT_ID,
        TENANT_ID,
        Attribute("prefixes", ListOf(Cidr(), MAX_PREFIXES), "What there is to give.", default=REQUIRED, create=True,
                  update=True, filter=False, sort=False),
        Attribute("default_prefixlen", Integer(0), "Prefix length of a subnet unless told.", create=True, update=True),
        Attribute("min_prefixlen", Integer(0), "Shortest prefix a subnet may ask for.", create=True, update=True),
        Attribute("max_prefixlen", Integer(0), "Longest prefix a subnet may ask for.", create=True, update=True),
        Attribute("default_quota", Integer(0), "How much of it one project may take.", create=True,
                  update=True),
        Attribute("ip_version", Integer(), "4 or 6."),
        Attribute("address_scope_id", Uuid(nullable=True), "Its address scope.", create=True, update=True),
        Attribute("shared", Boolean(), "Whether every project may use it.", default=False, create=True,
                  create_rule=ADMIN),
        Attribute("is_default", Boolean(), "Whether it is used when a subnet asks for the default.", default=False,
                  create=True, update=True, create_rule=ADMIN, update_rule=ADMIN),
        DESCRIPTION,
        *STANDARD,
    ),
    indexes=(("project_id",),),
)

ADDRESS_SCOPE = Resource(
    service="network",
    name="address_scope",
    collection="address-scopes",
    description="Prefixes that do not overlap.",
    attributes=(
        ID,
        Attribute("name", Text(NAME_LENGTH), "A name.", default="", create=True, update=True),
        PROJECT_ID,
        TENANT_ID,
        Attribute("shared", Boolean(), "Whether every project may use it.", default=False, create=True, update=True,
                  create_rule=ADMIN, update_rule=ADMIN),
        Attribute("ip_version", Choice((4, 6)), "4 or 6.", default=REQUIRED, create=True),
    ),
    indexes=(("project_id",),),
)

RBAC_POLICY = Resource(
    service="network",
    name="rbac_policy",
    collection="rbac-policies",
    description="A network, security group, subnet pool or address scope that another project may use.",
    attributes=(
        ID,
        PROJECT_ID,
        TENANT_ID,
        Attribute("object_type", Text(255), "network, security_group, subnetpool or address_scope.",
                  default=REQUIRED, create=True),
        Attribute("object_id", Uuid(), "What is shared.", default=REQUIRED, create=True),
        Attribute("target_tenant", Text(255), "The project that may use it, or *.", default=REQUIRED, create=True,
                  update=True),
        Attribute("action", Text(255), "access_as_shared or access_as_external.", default=REQUIRED, create=True),
    ),
    indexes=(("project_id",), ("target_tenant",)),
    unique=(("object_type", "object_id", "target_tenant", "action"),),
)

# fmt: on
RESOURCES: Final = (
    NETWORK,
    SUBNET,
    PORT,
    ROUTER,
    FLOATINGIP,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    SUBNETPOOL,
    ADDRESS_SCOPE,
    RBAC_POLICY,
)

QUOTA_DEFAULTS: Final[dict[str, int]] = {
    "network": 100,
    "subnet": 100,
    "subnetpool": 100,
    "port": 500,
    "router_route": 30,
    "router": 10,
    "floatingip": 50,
    "rbac_policy": 10,
    "security_group": 10,
    "security_group_rule": 100,
}
"""How many of each a project may have; -1 is no limit.

Source: neutron/conf/quota.py, where pools of prefixes have none.
"""

DHCP: Final = "network:dhcp"
ROUTER_INTERFACE: Final = "network:router_interface"
ROUTER_GATEWAY: Final = "network:router_gateway"
FLOATING: Final = "network:floatingip"
COMPUTE_PREFIX: Final = "compute:"
