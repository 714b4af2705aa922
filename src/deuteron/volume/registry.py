"""Volume drivers by their names in the settings, found by entry point: ours through the same door as anybody's.

An entry of the group names a function of the driver's folder on this host, and of what brings images into it
(`contract.Fetch`).
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from deuteron.volume.contract import Fetch, VolumeDriver

GROUP = "deuteron.volume_drivers"


class UnknownDriver(ValueError):
    """A name that cannot be used: nobody provides it, two do, or what it names does not work."""


def open_driver(name: str, folder: Path, fetch: Fetch) -> VolumeDriver:
    """The driver of this name. Raises: UnknownDriver."""
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
        driver = entries[0].load()(folder, fetch)
    except Exception as error:  # whatever a third party's package does when it is loaded
        raise UnknownDriver(f'cannot load volume driver "{name}" from {entries[0].value}: {error!r}') from error
    if not isinstance(driver, VolumeDriver) or driver.name != name:
        raise UnknownDriver(f'cannot use volume driver "{name}": what {GROUP} names is no volume driver "{name}"')
    return driver
