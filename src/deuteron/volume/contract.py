"""What a volume driver is: a few functions over volumes and snapshots that it knows by their ids.

A driver holds no policy and no memory that it could lose: what there is it finds out by looking. Every function may be
called again after a crash at any point of it, with the same arguments, and then does what is left to do; of what is
done already it does nothing. Calls come from several threads, at most one at a time for each id.

A driver is a package with an entry point in the group `deuteron.volume_drivers`, found by its name (`registry`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import msgspec

from deuteron.model.intent import ImageRef

Fetch = Callable[[ImageRef, Path], tuple[Path, str]]
"""Brings an image into a folder: where it is then, and the format of its data. Raises: VolumeFailure."""


class VolumeFailure(Exception):
    """Something about a volume could not be done; the message says what was attempted and why it failed."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class Origin(msgspec.Struct, frozen=True):
    """What a copy is made of."""

    kind: Literal["volume", "snapshot"]
    id: str


class Figures(msgspec.Struct, frozen=True):
    """How much room there is, in GiB."""

    total_gib: int
    free_gib: int


class Guests(Protocol):
    """The guests of this host, as far as they have volumes. Raises: OSError for what a guest does not do."""

    def quiet(self, volume_id: str) -> AbstractContextManager[None]:
        """While it lasts, no guest of this host writes to the volume: one that has it stands still, or stays off."""
        ...

    def grow(self, volume_id: str, size_gib: int) -> bool:
        """Let the guest that runs with the volume see it larger, which makes it so; False where none runs with it."""
        ...


class NoGuests:
    """Of a host that runs none."""

    def quiet(self, volume_id: str) -> AbstractContextManager[None]:
        return nullcontext()

    def grow(self, volume_id: str, size_gib: int) -> bool:
        return False


@runtime_checkable
class VolumeDriver(Protocol):
    """One back end. Sizes are in GiB; ids are UUIDs in their usual form."""

    name: str
    is_lasting: bool
    """Whether what it made is there after its process ended."""

    def size_gib(self, volume_id: str) -> int | None:
        """How large the volume is; None when there is none, or not a whole one."""
        ...

    def has_snapshot(self, snapshot_id: str) -> bool: ...

    def make(self, volume_id: str, size_gib: int, image: ImageRef | None = None) -> None:
        """Make a volume, empty or with the data of an image. Raises: VolumeFailure."""
        ...

    def clone(self, volume_id: str, size_gib: int, origin: Origin) -> None:
        """Make a volume that holds what its origin holds now; no data are copied. Raises: VolumeFailure."""
        ...

    def snapshot(self, snapshot_id: str, volume_id: str, *, is_quiet: bool = False) -> None:
        """Keep what the volume holds now; `is_quiet`, the guest that has it writes nothing meanwhile.

        Raises: VolumeFailure, also for a volume that a guest has and that is not quiet.
        """
        ...

    def extend(self, volume_id: str, size_gib: int, *, is_quiet: bool = False) -> None:
        """Make the volume larger; it is never made smaller. `is_quiet`, the guest that has it is off.

        Raises: VolumeFailure, also for a volume that a guest has and that is not quiet.
        """
        ...

    def read(self, volume_id: str, form: str, target: Path) -> None:
        """Write what the volume holds into a file of this format, as `qemu-img` calls it. Raises: VolumeFailure."""
        ...

    def save(self, origin: Origin, target: Path, below: Path | None, *, is_quiet: bool = False) -> None:
        """Write what a volume or snapshot holds into a qcow2 file: all of it, or what differs from `below`, a qcow2
        file beside it on which it then stands. `is_quiet`, the guest that has it writes nothing meanwhile.

        Raises: VolumeFailure, also for a volume that a guest has and that is not quiet.
        """
        ...

    def load(self, volume_id: str, source: Path) -> None:
        """Let the volume hold what a qcow2 file does, and nothing behind its end; all of it or none.

        Raises: VolumeFailure, also for a file that is larger, and for a volume that a guest has.
        """
        ...

    def export(self, volume_id: str, folder: Path) -> Path:
        """Let a guest have the volume that finds its files in `folder`: the file to open, whose format is qcow2.

        Raises: VolumeFailure, also when another folder has it.
        """
        ...

    def withdraw(self, volume_id: str, folder: Path) -> None:
        """Take the volume from the folder again; a volume that is not there is no error."""
        ...

    def delete(self, kind: Literal["volume", "snapshot"], object_id: str) -> None:
        """Remove it; what was made of it stays whole. Raises: VolumeFailure while a guest has the volume."""
        ...

    def figures(self) -> Figures: ...
