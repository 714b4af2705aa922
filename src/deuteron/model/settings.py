"""What a cloud is set to: what `deuteron up` wrote (`Settings`), and what its operator may set (`Operator`).

Frozen values, passed to whoever needs them; `api/settings.py` reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from deuteron.model.intent import MECHANISM, TUNNEL_TYPES, FirewallDriver, TunnelType


class ImportFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where images are downloaded from; Glance's options of the same names."""

    allowed_schemes: tuple[Literal["http", "https"], ...] = ("http", "https")
    allowed_hosts: tuple[str, ...] = ()
    """Names or addresses: no others are reached, and these also where their addresses are internal; none is all."""
    disallowed_hosts: tuple[str, ...] = ()
    """Where no hosts are allowed by name."""
    allowed_ports: tuple[Annotated[int, msgspec.Meta(ge=1, le=65535)], ...] = (80, 443)


_STORE: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z"
"""No comma is in it, for lists of stores are written with these; it is no path."""


class ImageStore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place for the data of images; Glance's options of the same names."""

    filesystem_store_datadir: Annotated[str, msgspec.Meta(pattern=rf"^\Z|{_STORE}")] = ""
    """A folder of `image-stores/` in the API's folder; "" is `images/` there, where a cloud without stores has all."""
    store_description: Annotated[str, msgspec.Meta(max_length=255)] = ""
    weight: int = 0
    """Data are read from the heaviest of the stores that have them."""


class ImageOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits are for each project that owns images."""

    require_image_format_match: bool = True
    """Whether data whose format is not the declared one are refused. If not they are kept, and cannot be booted."""
    image_count_total: int = 500
    image_count_uploading: int = 20
    """How many uploads may be under way at once."""
    image_size_total: int = 100 * 1024
    """MiB of data. It is looked at before an upload: the last one may go beyond, as with Glance."""
    image_stage_total: int = 100 * 1024
    """MiB of data that are staged, and not imported yet."""
    enabled_import_methods: tuple[Literal["glance-direct", "web-download", "copy-image"], ...] = (
        "glance-direct", "web-download", "copy-image",
    )  # fmt: skip
    """`copy-image` is offered where there are stores."""
    stores: dict[Annotated[str, msgspec.Meta(pattern=_STORE)], ImageStore] = {}
    """By their names, in the order in which they are shown. Without any, the API says that it knows of none."""
    default_backend: str = ""
    """The store that data go to when none is named; "" is the one whose folder is `images/`."""
    import_filtering_opts: ImportFilter = ImportFilter()
    web_download_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    """For the whole of a download."""

    def __post_init__(self) -> None:
        """Raises: ValueError for stores of which none, or more than one, has the folder `images/`, and the like."""
        folders = [store.filesystem_store_datadir for store in self.stores.values()]
        if self.stores and folders.count("") != 1:
            raise ValueError("one of the stores of images has no filesystem_store_datadir, and only one")
        if len(set(folders)) != len(folders):
            raise ValueError("two stores of images have the same filesystem_store_datadir")
        if any(name.startswith("os_glance_") for name in self.stores):
            raise ValueError("no store of images may have a name that begins with os_glance_")
        if self.default_backend and self.default_backend not in self.stores:
            raise ValueError(f"default_backend is no store of images: {self.default_backend}")


class IdentityOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits are for each user; -1 is none. Keystone's `[credential]` and `[application_credential]` `user_limit`."""

    credential_user_limit: Annotated[int, msgspec.Meta(ge=-1)] = 200
    application_credential_user_limit: Annotated[int, msgspec.Meta(ge=-1)] = 200
    credential_auth_ttl: Annotated[int, msgspec.Meta(ge=1, le=525_600)] = 15
    """Minutes for which what was signed with an EC2 credential is good. Keystone's `[credential] auth_ttl`."""
    totp_included_previous_windows: Annotated[int, msgspec.Meta(ge=0, le=10)] = 1
    """Half minutes for which a one-time password is good after its own. Keystone's `[totp]`."""
    receipt_expiration: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 300
    """Seconds in which the next factor has to be given. Keystone's `[receipt] expiration`."""
    unified_limit_enforcement_model: Literal["flat", "strict_two_level"] = "flat"
    """Keystone's `[unified_limit] enforcement_model`."""
    trust_user_limit: Annotated[int, msgspec.Meta(ge=-1)] = 200
    """Of trusts that a user makes. Keystone has no such limit."""
    max_redelegation_count: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3
    """How often a trust may be handed on. Keystone's `[trust]`."""


class SecurityCompliance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keystone's `[security_compliance]`, by its names. Nothing of it holds unless it is set."""

    lockout_failure_attempts: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """So many wrong passwords lock a user out."""
    lockout_duration: Annotated[int, msgspec.Meta(ge=1)] = 1800
    """For so many seconds."""
    disable_user_account_days_inactive: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """A user that has not logged in for so many days is disabled."""
    password_expires_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] | None = None
    unique_last_password_count: Annotated[int, msgspec.Meta(ge=0, le=24)] = 0
    """A user may not take one of so many passwords before again."""
    minimum_password_age: Annotated[int, msgspec.Meta(ge=0, le=36500)] = 0
    """Days before a user may change a password that it chose itself."""
    password_regex: str | None = None
    """What a password has to match, from its beginning."""
    password_regex_description: str = ""
    """The same in words, for who is refused."""
    change_password_upon_first_use: bool = False
    """Whether a password that an administrator gave has to be changed before it lets anybody in."""

    def __post_init__(self) -> None:
        """Raises: ValueError for an expression that is none."""
        try:
            re.compile(self.password_regex or "")
        except re.error as error:
            raise ValueError(f"password_regex is not a regular expression: {error}") from None


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests a second over time, and how many may come at once."""

    rate: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
    burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class LimitOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests are limited only where a rate is set; agents never are."""

    project: Rate | None = None
    """Of each project."""
    address: Rate | None = None
    """Of each address that clients come from."""
    slow_request_ms: Annotated[float, msgspec.Meta(gt=0)] = 1000.0
    """A request that takes longer is a line in the log."""


_LABEL: Final = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = rf"^({_LABEL}(\.{_LABEL})*\.?)?\Z"

DNS_DOMAIN: Final = "openstacklocal"
"""Neutron's default, with which ports have no names of their own."""


class NetworkOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dns_domain: Annotated[str, msgspec.Meta(max_length=200, pattern=_DOMAIN)] = DNS_DOMAIN
    """The domain of the names of ports; "" is none."""
    dhcp_agents_per_network: Annotated[int, msgspec.Meta(ge=1)] = 1
    """How many hosts serve the DHCP of a network, if there are as many."""
    allow_automatic_l3agent_failover: bool = True
    """Whether routers of a host that is away go to others."""
    allow_automatic_dhcp_failover: bool = True
    """Whether others serve the DHCP of networks of a host that is away."""
    failover_after_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 30.0
    """For how long a host has to be away before. Neutron's `agent_down_time` is 75 s."""
    router_distributed: bool = False
    """Whether routers run wherever their networks are unless they say otherwise."""
    l3_ha: bool = False
    """Whether routers run on several hosts unless they say otherwise."""
    max_l3_agents_per_router: Annotated[int, msgspec.Meta(ge=0)] = 3
    """On how many hosts a router runs that runs on several; 0 is all."""
    ha_vrrp_advert_int: Annotated[float, msgspec.Meta(ge=0.1, le=40.0)] = 0.2
    """Seconds between two signs of life of such a router: another host takes it over after three or four of them.
    Neutron's is 2 s."""


class VncOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where viewers of VNC that are no browsers find guests' screens, over TLS alone."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    """Without one nobody listens, and the console type `xvpvnc` is unavailable."""
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] = "127.0.0.1"
    """The address to listen at."""
    name: Annotated[str, msgspec.Meta(max_length=253)] = ""
    """What viewers call it: in the addresses of consoles, and in the certificate; "" is `host`."""
    certificate: str = ""
    """A file, PEM; without one the API makes one that it signs itself, `vnc.pem` in its folder."""
    key: str = ""

    def __post_init__(self) -> None:
        """Raises: ValueError when a certificate comes without its key, or a key without its certificate."""
        if bool(self.certificate) is not bool(self.key):
            raise ValueError("certificate and key come together")

    @property
    def called(self) -> str:
        return self.name or self.host


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    image: ImageOptions = ImageOptions()
    identity: IdentityOptions = IdentityOptions()
    security_compliance: SecurityCompliance = SecurityCompliance()
    network: NetworkOptions = NetworkOptions()
    limits: LimitOptions = LimitOptions()
    vnc: VncOptions = VncOptions()


class HostEntry(msgspec.Struct, frozen=True):
    """A host that may connect, and its secret."""

    token: str
    bridge_mappings: dict[str, str] = {}
    tunnel_ip: str | None = None
    roles: tuple[str, ...] = ("network", "compute")
    mechanism_drivers: tuple[str, ...] = (MECHANISM,)
    bridge_ports: dict[str, str] = {}
    bridge_addresses: dict[str, str] = {}
    """These two as `HostSettings` has them: a trace is walked through what is planned with them."""

    def __repr__(self) -> str:
        return f"HostEntry(bridge_mappings={self.bridge_mappings}, tunnel_ip={self.tunnel_ip}, roles={self.roles})"


class External(msgspec.Struct, frozen=True):
    """The external network of the starter kit."""

    physical_network: str = "public"
    cidr: str = "172.24.4.0/24"
    gateway: str = "172.24.4.1"
    pool: tuple[str, str] = ("172.24.4.10", "172.24.4.250")


class Settings(msgspec.Struct, frozen=True):
    """`api.json`, written by `deuteron up`."""

    state_dir: str
    port: int
    socket: str
    admin_password: str
    demo_password: str
    host: str = "127.0.0.1"
    region: str = "RegionOne"
    hosts: dict[str, HostEntry] = {}
    """The one part that changes while the API runs, by `take_hosts`: whoever goes over it takes a copy first."""
    outside_token: str = ""
    """The secret of the host `outside`, which has no agent; "" where there is none."""
    outside_forwards: bool = False
    """Whether `outside` may ask the machine's resolver."""
    outside_wires: tuple[str, ...] = ()
    """Physical networks that `outside` is on."""
    vlan_ranges: dict[str, tuple[tuple[int, int], ...]] = msgspec.field(
        default_factory=lambda: {"physnet1": ((1000, 2999),)}
    )
    """Physical network to first and last of the VLANs that projects get; none, where only an administrator gives them.
    """
    flat_networks: tuple[str, ...] = ("public",)
    tunnel_types: tuple[TunnelType, ...] = TUNNEL_TYPES
    """The kinds of tunnels that networks may be; each has the numbers of `vni_range` for itself."""
    vni_range: tuple[int, int] = (1, 65535)
    tenant_network_types: tuple[str, ...] = ("vxlan", "vlan")
    mechanism_drivers: tuple[str, ...] = (MECHANISM,)
    """Names of the mechanisms that are asked to bind a port, in this order."""
    external: External | None = External()
    global_physnet_mtu: int = 1500
    path_mtu: int = 1500
    token_expiration_s: int = 24 * 3600
    dataplane: Literal["ovs", "none"] = "ovs"
    firewall_driver: FirewallDriver = "openvswitch"
    operator: Operator = Operator()
    database: str = ""
    """The URI of a PostgreSQL database, without its password; "" is SQLite in the API's folder."""
    database_password: str = ""

    def __repr__(self) -> str:
        return f"Settings(state_dir={self.state_dir!r}, port={self.port})"

    def take_hosts(self, wanted: Mapping[str, HostEntry]) -> tuple[set[str], set[str]]:
        """Have these hosts from now on, everywhere where these settings are held: names of who came, and of who left.

        Other threads read meanwhile: a host that stays is there at every moment.
        """
        came, left = wanted.keys() - self.hosts.keys(), self.hosts.keys() - wanted.keys()
        for name, entry in wanted.items():
            self.hosts[name] = entry
        for name in left:
            del self.hosts[name]
        return came, left

    @property
    def dns_domain(self) -> str:
        """The domain of the names of ports, without a dot at its end; "" is none."""
        return self.operator.network.dns_domain.removesuffix(".")

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"
