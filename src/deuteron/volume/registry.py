"""Volume drivers by their names in the settings, found by entry point: ours through the same door as anybody's.

An entry of the group names a class (`contract.DriverClass`), which says what a table `[volume.backends.NAME]` of the
topology may hold for it, beside `COMMON`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

import msgspec

from deuteron.volume.contract import DriverClass, Place, VolumeDriver, VolumeFailure

GROUP = "deuteron.volume_drivers"
COMMON: Final = ("driver", "volume_backend_name", "hosts", "max_over_subscription_ratio", "reserved_percentage")
"""Keys of every back end, whatever its driver."""


class UnknownDriver(ValueError):
    """A name that cannot be used: nobody provides it, two do, or what it names does not work."""


class WrongOptions(ValueError):
    """What a back end's table says is not what its driver takes; `accepted` are the keys that it knows."""

    def __init__(self, message: str, accepted: tuple[str, ...]) -> None:
        super().__init__(message)
        self.accepted = accepted


def driver_class(name: str) -> DriverClass:
    """What makes drivers of this name. Raises: UnknownDriver."""
    offered: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        offered.setdefault(entry.name, []).append(entry)
    if name not in offered:
        raise UnknownDriver(f'unknown volume driver "{name}" (known: {", ".join(sorted(offered)) or "none"})')
    entries = offered[name]
    if len(entries) > 1:
        owners = ", ".join(sorted(entry.dist.name if entry.dist is not None else entry.value for entry in entries))
        raise UnknownDriver(f'cannot use volume driver "{name}": several packages offer it ({owners})')
    try:
        found = entries[0].load()
    except Exception as error:  # whatever a third party's package does when it is loaded
        raise UnknownDriver(f'cannot load volume driver "{name}" from {entries[0].value}: {error!r}') from error
    options = getattr(found, "Options", None)
    if not callable(found) or not isinstance(options, type) or not issubclass(options, msgspec.Struct):
        raise UnknownDriver(
            f'cannot use volume driver "{name}": {entries[0].value} is no class with Options that are a struct'
        )
    taken = [key for key in options.__struct_fields__ if key in COMMON]
    if taken or not options.__struct_config__.forbid_unknown_fields:
        why = f"every back end has {taken[0]}" if taken else "its options accept unknown keys"
        raise UnknownDriver(f'cannot use volume driver "{name}": {why}')
    return cast("DriverClass", found)


def checked_options(name: str, said: Mapping[str, Any]) -> msgspec.Struct:
    """What the table of a back end says beside `COMMON`, as its driver has it. Raises: UnknownDriver, WrongOptions."""
    options = driver_class(name).Options
    try:
        return msgspec.convert(said, options)
    except msgspec.ValidationError as error:
        raise WrongOptions(str(error), options.__struct_fields__) from None


def open_driver(name: str, place: Place, said: Mapping[str, Any]) -> VolumeDriver:
    """A driver with these options. Raises: UnknownDriver, WrongOptions; VolumeFailure, OSError for one that is away."""
    options = checked_options(name, said)
    try:
        driver = driver_class(name)(place, options)
    except (VolumeFailure, OSError):
        raise
    except Exception as error:  # whatever a third party's package does
        raise UnknownDriver(f'cannot open volume driver "{name}": {error!r}') from error
    if not isinstance(driver, VolumeDriver) or driver.name != name:
        raise UnknownDriver(f'cannot use volume driver "{name}": what {GROUP} names is no volume driver "{name}"')
    return driver
