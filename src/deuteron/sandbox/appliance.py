"""A simulated ZFS Storage Appliance on a host: the table `[appliance]` of the topology, and what `--with zfssa` writes.

It is a process of its own beside the host's agent (`deuteron.appliance`), at the host's address in the management
network, so that every host reaches it as it would the appliance itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec

from .errors import TopologyError

PORTS: Final = (215, 3260)
"""Of REST and of iSCSI."""
_INTERFACE: Final = "e1000g0"

_Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]


class Appliance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[appliance]`."""

    host: str
    """Which host it runs on: one with an agent."""
    password: Annotated[str, msgspec.Meta(min_length=8, max_length=255)]
    """Of its user root."""
    pools: Annotated[tuple[_Name, ...], msgspec.Meta(min_length=1)] = ("default",)
    pool_size_gib: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None
    """Of each pool; nothing: what was free on the disk when it was made."""
    interfaces: Annotated[tuple[_Name, ...], msgspec.Meta(min_length=1)] = (_INTERFACE,)

    def arguments(self, address: str, state: str, password_file: str) -> tuple[str, ...]:
        """Of the program."""
        size = () if self.pool_size_gib is None else ("--pool-size-gib", str(self.pool_size_gib))
        return (
            *("--state", state, "--password-file", password_file, "--address", address),
            *("--port", str(PORTS[0]), "--portal-port", str(PORTS[1]), *size),
            *(word for pool in self.pools for word in ("--pool", pool)),
            *(word for interface in self.interfaces for word in ("--interface", interface)),
        )


def appliances_of_hosts(
    appliance: Appliance | None, groups: Mapping[str, Sequence[str]], source: str
) -> dict[str, Appliance]:
    """The appliance by the host that runs it. Raises: TopologyError."""
    if appliance is None:
        return {}
    able = sorted({host for group in ("network", "compute", "storage") for host in groups.get(group, ())})
    if appliance.host not in able:
        message = f'host "{appliance.host}" of [appliance] in {source} has no agent'
        raise TopologyError(message, f"one of {', '.join(able)} can run it")
    return {appliance.host: appliance}


def with_appliance(text: str, host: str, address: str, password: str) -> str:
    """A topology of one host more that keeps volumes: the appliance, and the back end that is on it.

    The settings are those of "Running OpenStack Icehouse with ZFS Storage Appliance".
    """
    return f"""{text}
# A simulated ZFS Storage Appliance.
[appliance]
host = "{host}"
password = "{password}"

[volume.backends.zfssa]
driver = "zfssa"
zfssa_host = "{address}"
zfssa_auth_user = "root"
zfssa_auth_password = "{password}"
zfssa_pool = "default"
zfssa_target_portal = "{address}:{PORTS[1]}"
zfssa_project = "test"
zfssa_initiator_group = "default"
zfssa_target_interfaces = "{_INTERFACE}"
"""
