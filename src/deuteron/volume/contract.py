"""What a volume driver is: a few functions over volumes and snapshots that it knows by their ids.

A driver holds no policy and no memory that it could lose: what there is it finds out by looking. Every function may be
called again after a crash at any point of it, with the same arguments, and then does what is left to do; of what is
done already it does nothing. Calls come from several threads, at most one at a time for each id.

Of a volume that is encrypted a driver keeps a disk as any other, whose data are unreadable to it: the encryption lies
over it (`sealing`, and `deuteron.compute.units` for guests), so that every back end has such volumes.

A driver is a package with an entry point in the group `deuteron.volume_drivers`, whose name is what `driver` of a table
`[volume.backends.NAME]` says (`registry`). It names a class, of which each host that carries the back end makes an
object of its own (`DriverClass`): with its place on the host, and with what the table says beside what every back end
has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Protocol, runtime_checkable

import msgspec

from deuteron.model.connections import Connection
from deuteron.model.intent import ImageRef, Unmanaged

Fetch = Callable[[ImageRef, Path], tuple[Path, str]]
"""Brings an image into a folder: where it is then, and the format of its data. Raises: VolumeFailure."""


class VolumeFailure(Exception):
    """Something about a volume could not be done; the message says what was attempted and why it failed."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class BackendAway(VolumeFailure):
    """The back end cannot be reached now, so that nothing is known of what it keeps: it is asked again later.

    No volume is called lost or broken for it; the service of the back end is down meanwhile.
    """


class ToolKilled(VolumeFailure):
    """A program that worked on a volume was killed in the middle: what was asked may be asked once more."""


class Place(msgspec.Struct, frozen=True):
    """Where a driver works."""

    backend: str
    """The name of the back end, as in `[volume.backends.NAME]`."""
    host: str
    """The host that carries it. Several may carry one back end, each with a driver of its own."""
    folder: Path
    """For files of the back end on this host, of nobody else; it is there."""
    fetch: Fetch


class Capabilities(msgspec.Struct, frozen=True):
    """What a back end is, for as long as it is open: told by Cinder's names, which types may ask for."""

    vendor_name: str
    storage_protocol: str
    """"file", "iSCSI": as Cinder has it."""
    driver_version: str = "1"
    pool: str = ""
    """What `HOST@BACKEND#POOL` says; "" is the back end's own name (`volume_backend_name`)."""
    is_networked: bool = False
    """Whether every host that carries the back end reaches what another of them made: guests there may have it."""
    multiattach: bool = False
    """Whether several guests may have a volume at once (`VolumeDriver.share`)."""
    thin_provisioning_support: bool = True
    thick_provisioning_support: bool = False
    more: dict[str, str | bool | int | float] = {}
    """Others, by the names that extra specs have them by, as `compression`; none of them replaces one of Cinder's."""


class Origin(msgspec.Struct, frozen=True):
    """What a copy is made of."""

    kind: Literal["volume", "snapshot"]
    id: str


class Figures(msgspec.Struct, frozen=True):
    """How much room there is, in GiB."""

    total_gib: int
    free_gib: int


class Handover(msgspec.Struct, frozen=True):
    """What becomes of a volume that another host has, when the guest goes from there to here."""

    beside: str = ""
    """The host that may have it at the same time: the guest comes from there while it runs, and writes at one place."""
    after: tuple[str, ...] = ()
    """Hosts that have it no more, whatever they said last: they are lost."""


ALONE: Final = Handover()


class Guests(Protocol):
    """The guests of this host, as far as they have volumes.

    Raises: TimeoutError while they cannot be asked: nobody knows yet who has what, or a guest is busy, or whoever runs
    them is away; what needs them waits. OSError for what a guest does not do.
    """

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
    """One back end. Sizes are in GiB; ids are UUIDs in their usual form. All raises BackendAway for one that is."""

    name: str
    """The driver's, as the entry point has it."""
    is_lasting: bool
    """Whether what it made is there after its process ended."""
    capabilities: Capabilities

    def size_gib(self, volume_id: str) -> int | None:
        """How large the volume is; None when there is none, or not a whole one."""
        ...

    def has_snapshot(self, snapshot_id: str) -> bool: ...

    def make(self, volume_id: str, size_gib: int, image: ImageRef | None = None) -> None:
        """Make a volume, empty or with the data of an image. Raises: VolumeFailure."""
        ...

    def clone(self, volume_id: str, size_gib: int, origin: Origin) -> None:
        """Make a volume that holds what its origin of this back end holds now. Raises: VolumeFailure.

        No data are copied where the back end can do without; of a volume that is shared they may be.
        """
        ...

    def share(self, volume_id: str, *, is_shared: bool) -> None:
        """Let several guests have the volume at once, or again only one; it is only one's when it is made.

        It is asked of each volume each time the keeper looks at it. Data may be copied where that changes something.

        Raises: VolumeFailure where the back end is not able to (`Capabilities.multiattach`), and for a volume that a
        guest has while it is what it is not to be.
        """
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

    def revert(self, volume_id: str, snapshot_id: str) -> None:
        """Let the volume hold what it held when the snapshot of it was made; all of it or none. It stays as large.

        Raises: VolumeFailure, also for a volume that a guest has.
        """
        ...

    def export(self, volume_id: str, folder: Path, handover: Handover = ALONE) -> Connection:
        """Let the guest of this host have the volume that finds its files in `folder`, and no other guest, but for
        what `handover` says of other hosts.

        What the guest opens is a file in the folder, or a logical unit that the host reaches by iSCSI.

        The folder is the guest's for as long as it has volumes, also when its host or agent starts again, and differs
        from that of each other guest of the host. Asked again it answers the same.

        Raises: VolumeFailure, also when another folder has it, of this host or another, and it is not shared. A back
        end that is not `is_networked` gives it to one host, whatever is said of others.
        """
        ...

    def withdraw(self, volume_id: str, folder: Path) -> None:
        """Take the volume from the folder again; a volume that is not there is no error."""
        ...

    def delete(self, kind: Literal["volume", "snapshot"], object_id: str) -> None:
        """Remove it; what was made of it stays whole. Raises: VolumeFailure while a guest has the volume."""
        ...

    def unmanaged(self) -> Sequence[Unmanaged]:
        """The disks and snapshots that are there and nobody's: those given out of hand, and those that others put
        there. Raises: VolumeFailure, OSError."""
        ...

    def adopt(self, kind: Literal["volume", "snapshot"], object_id: str, name: str, volume_id: str) -> None:
        """Let what is `unmanaged` under this name be the volume, or the snapshot of the volume `volume_id`.

        It holds what it held, behind its end nothing up to the next whole GiB. It is one of the two, whatever happens.

        Raises: VolumeFailure for a name that is not there, or is of what cannot be managed.
        """
        ...

    def let_go(self, kind: Literal["volume", "snapshot"], object_id: str, volume_id: str) -> None:
        """Let the volume, or the snapshot of the volume `volume_id`, be nobody's: it stays, as one of `unmanaged`.

        It is called so by its id, and from then on no other function knows it. What is not there is no error.

        Raises: VolumeFailure while a guest has the volume.
        """
        ...

    def figures(self) -> Figures:
        """Asked from time to time: while it fails, the back end's service is down. Raises: VolumeFailure, OSError."""
        ...


class DriverClass(Protocol):
    """What the entry point names."""

    Options: ClassVar[type[msgspec.Struct]]
    """What a table `[volume.backends.NAME]` may say for this driver, by the names of its fields: a frozen struct with
    `forbid_unknown_fields`. A field without a default is needed; types and `msgspec.Meta` say what is accepted, and a
    `ValueError` of `__post_init__` what is not. `deuteron up` refuses the rest. No message of it quotes a secret: of
    the file's lines it shows the keys alone. Names of `registry.COMMON` are taken."""

    def __call__(self, place: Place, options: Any) -> VolumeDriver:
        """Open it; `options` are of the class's. What cannot be opened is tried again while the agent lives.

        Raises: VolumeFailure; OSError.
        """
        ...
