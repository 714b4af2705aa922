"""What the handlers share: settings, store, policy, tokens, and the line to the agents. Built once by `main`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from deuteron.api.meter import Meter
from deuteron.api.operator import Operator, read_operator
from deuteron.store.database import Database

if TYPE_CHECKING:
    from deuteron.api.hosts.hub import Hub
    from deuteron.api.identity.tokens import Tokens
    from deuteron.api.policy import Policy


class HostEntry(msgspec.Struct, frozen=True):
    """A host that may connect, and its secret."""

    token: str
    bridge_mappings: dict[str, str] = {}
    tunnel_ip: str | None = None
    roles: tuple[str, ...] = ("network", "compute")

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
    outside_token: str = ""
    """The secret of the host `outside`, which has no agent; "" where there is none."""
    vlan_ranges: dict[str, tuple[tuple[int, int], ...]] = msgspec.field(
        default_factory=lambda: {"physnet1": ((1000, 2999),)}
    )
    """Physical network to first and last of the VLANs that projects get; none, where only an administrator gives them.
    """
    flat_networks: tuple[str, ...] = ("public",)
    vni_range: tuple[int, int] = (1, 65535)
    tenant_network_types: tuple[str, ...] = ("vxlan", "vlan")
    external: External | None = External()
    global_physnet_mtu: int = 1500
    path_mtu: int = 1500
    token_expiration_s: int = 24 * 3600
    dataplane: str = "ovs"
    dns_domain: str = "openstacklocal"
    operator: Operator = Operator()

    def __repr__(self) -> str:
        return f"Settings(state_dir={self.state_dir!r}, port={self.port})"


@dataclass
class Cloud:
    settings: Settings
    database: Database
    policy: Policy
    tokens: Tokens
    hub: Hub
    meter: Meter = field(default_factory=Meter)

    @property
    def state_dir(self) -> Path:
        return Path(self.settings.state_dir)

    @property
    def endpoint(self) -> str:
        return f"http://{self.settings.host}:{self.settings.port}"


def load_settings(path: Path) -> Settings:
    """`api.json`, with what the operator set.

    Raises: OSError; msgspec.ValidationError naming the field; BadOperatorFile.
    """
    settings = msgspec.json.decode(path.read_bytes(), type=Settings)
    return msgspec.structs.replace(settings, operator=read_operator(Path(settings.state_dir)))
