"""Which back ends keep volumes, and on which hosts: the tables `[volume.backends.NAME]` of the topology.

What such a table says beside the keys of every back end is for its driver, and may be a secret: nothing of it is ever
shown but its keys. `deuteron up` lets the driver judge it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from deuteron.model.intent import OVERSUBSCRIPTION, VOLUME_DRIVER, BackendSettings

from .errors import TopologyError

DEFAULT: Final = BackendSettings(VOLUME_DRIVER, VOLUME_DRIVER, VOLUME_DRIVER)
"""The one back end where no table says of any."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_A_NAME: Final = (
    "a name has up to 64 letters, digits, dots, underscores and hyphens, and begins with a letter or a digit"
)


class Volume(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[volume]`."""

    backends: dict[str, dict[str, Any]] = {}


class Common(msgspec.Struct, frozen=True):
    """What every back end's table may say."""

    driver: str
    volume_backend_name: str | None = None
    hosts: tuple[str, ...] | None = None
    """Hosts, or groups of them; none said: all of the group `storage`."""
    max_over_subscription_ratio: Annotated[float, msgspec.Meta(ge=1, le=1_000_000)] = OVERSUBSCRIPTION
    reserved_percentage: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0


def backends_of_hosts(
    volume: Volume, groups: Mapping[str, Sequence[str]], source: str
) -> dict[str, tuple[BackendSettings, ...]]:
    """The back ends of each host that plays the role `storage`. Raises: TopologyError."""
    storage = list(groups.get("storage", ()))
    if not volume.backends:
        return dict.fromkeys(storage, (DEFAULT,))
    found: dict[str, tuple[BackendSettings, ...]] = dict.fromkeys(storage, ())
    for name, table in volume.backends.items():
        settings, hosts = _backend(name, table, source)
        for host in _expanded(name, hosts, groups, source):
            found[host] = (*found[host], settings)
    return found


def _backend(name: str, table: Mapping[str, Any], source: str) -> tuple[BackendSettings, tuple[str, ...] | None]:
    if not _NAME.fullmatch(name):
        raise TopologyError(f'cannot name a back end "{name}" in {source}', _A_NAME)
    common = {key: value for key, value in table.items() if key in Common.__struct_fields__}
    try:
        said = msgspec.convert(common, Common)
    except msgspec.ValidationError as error:
        raise TopologyError(
            f"cannot read [volume.backends.{name}] of {source}: {error}",
            f"every back end has {', '.join(Common.__struct_fields__)}, of which driver is needed",
        ) from None
    called = said.volume_backend_name if said.volume_backend_name is not None else name
    if not _NAME.fullmatch(called):
        raise TopologyError(f'cannot use volume_backend_name "{called}" of back end "{name}" in {source}', _A_NAME)
    options = {key: value for key, value in table.items() if key not in common}
    settings = BackendSettings(
        name, said.driver, called, options, said.max_over_subscription_ratio, said.reserved_percentage
    )
    return settings, said.hosts


def _expanded(
    name: str, wanted: Sequence[str] | None, groups: Mapping[str, Sequence[str]], source: str
) -> Sequence[str]:
    """The hosts that carry it, each once."""
    storage = groups.get("storage", ())
    hosts = [host for each in ("storage",) if wanted is None for host in groups.get(each, ())]
    hosts += [host for each in wanted or () for host in groups.get(each, (each,))]
    for host in hosts:
        if host not in storage:
            raise TopologyError(
                f'host "{host}" cannot carry back end "{name}" of {source}: it is not in group "storage"',
                f"hosts are names of hosts or groups, all of them in storage: {', '.join(storage) or 'which has none'}",
            )
    if not hosts:
        raise TopologyError(
            f'no host carries back end "{name}" of {source}',
            'say hosts = ["NAME"] there, or put hosts into group "storage"',
        )
    return list(dict.fromkeys(hosts))
