"""Which one thing to do next for a server: a pure decision over what is wanted and what is there.

The driver takes the step, observes again, and asks again, until nothing is left to do. No step depends on
which step came before, so an interruption anywhere is continued by asking once more.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec

from deuteron.model.intent import IntentServer

DomainState = Literal["running", "shutdown", "paused", "crashed", "suspended", "absent"]


class Step(Enum):
    NOTHING = "nothing"
    WAIT_FOR_PORTS = "wait until its ports are wired"
    REMOVE = "remove"
    BUILD = "make its disks"
    DEFINE = "define"
    START = "start"
    RESTART_SOFT = "reboot by the guest's own shutdown"
    RESTART_HARD = "reboot"
    SHUT_DOWN = "shut down"
    PAUSE = "pause"
    RESUME = "resume"
    SUSPEND = "suspend"
    DISCARD_SUSPENDED = "discard the memory of the suspended server"
    REWIRE = "attach and detach interfaces"
    REPLUG = "attach and detach volumes"
    RESHAPE = "end it and give it its new shape"
    DROP_KEPT = "remove the disks of before its resize"
    RECORD = "record what was applied"
    IMAGE = "make an image of its disk"
    GIVE = "give its disks away"
    THAW = "let its file systems go on"
    LEAVE = "send its guest to another host"
    STAY = "let its guest go on here"
    COME = "take its guest from another host"
    ARRIVE = "let its guest go on that came from another host"


class ObservedServer(msgspec.Struct, frozen=True):
    """What is true of one server: its domain, the marks in it, and its files."""

    server_id: str
    state: DomainState
    power_applied: str = "running"
    """The power that was wanted when it was last applied; tells a guest's own shutdown from one we asked for."""
    reboot_generation: int = 0
    shape_generation: int = 0
    build_generation: int | None = None
    """Of the disks, from the file beside them; None when there are none, or not whole ones."""
    ended_by_guest: bool = False
    """Off because the guest shut itself down, as far as libvirt remembers."""
    taps: frozenset[str] = frozenset()
    has_files: bool = False
    kept: frozenset[int] = frozenset()
    """The shape generations before which copies of the disks were made that are still there."""
    imaged: str | None = None
    """The last image of its disk that the API has taken."""
    given: str | None = None
    """The last move for which the API has taken its disks."""
    volumes: frozenset[str] = frozenset()
    """Ids of the volumes that the domain has."""
    leaving: str | None = None
    """The live move by which its guest was to leave, and has not left."""
    coming: str | None = None
    """The live move by which there is something of it that is not yet the server."""
    held: frozenset[str] = frozenset()
    """Ids of the volumes that lie in its folder."""
    is_frozen: bool = False
    """Whether its guest was asked to freeze its file systems, and has not thawed them."""


def next_step(
    wanted: IntentServer | None,
    observed: ObservedServer,
    taps: frozenset[str],
    ports_ready: bool,
    volumes: frozenset[str] = frozenset(),
) -> Step:
    """What to do next.

    `taps` are the names the wanted interfaces have; `ports_ready`: all of them are wired, and all volumes are there.
    `volumes` are those that the server may have now.
    """
    if wanted is None:
        return Step.NOTHING if observed.state == "absent" and not observed.has_files else Step.REMOVE
    if wanted.come is not None:
        if observed.coming == wanted.come:
            return Step.NOTHING
        return Step.COME if ports_ready else Step.WAIT_FOR_PORTS
    if observed.coming is not None:
        if observed.coming == wanted.arrive and observed.build_generation == wanted.build_generation:
            return Step.ARRIVE if ports_ready else Step.WAIT_FOR_PORTS
        # What is left of a move that is off is not the server.
        return Step.BUILD
    if observed.leaving != wanted.leave and observed.leaving is not None:
        return Step.STAY
    if wanted.leave is not None:
        return Step.NOTHING if observed.leaving == wanted.leave else Step.LEAVE
    if observed.build_generation != wanted.build_generation:
        return Step.BUILD
    if observed.shape_generation != wanted.shape_generation:
        return Step.RESHAPE
    if wanted.power == "shutdown":
        if observed.state in ("running", "paused", "crashed"):
            return Step.SHUT_DOWN
        if observed.state == "suspended":
            return Step.DISCARD_SUSPENDED
        if observed.state == "absent":
            return Step.DEFINE
        return _settled(wanted, observed, taps, volumes)
    if wanted.power == "suspended" and observed.state == "suspended":
        return _settled(wanted, observed, observed.taps, observed.volumes)
    if wanted.reboot_generation > observed.reboot_generation and observed.state != "absent":
        if not ports_ready:
            return Step.WAIT_FOR_PORTS
        soft = wanted.reboot_kind == "SOFT" and observed.state in ("running", "shutdown")
        return Step.RESTART_SOFT if soft else Step.RESTART_HARD
    if observed.state in ("absent", "shutdown", "crashed", "suspended"):
        if observed.state == "shutdown" and observed.ended_by_guest and observed.power_applied == wanted.power:
            # As in Nova, a guest that powers itself off stays off; the API learns it and changes its mind.
            return _imaged(wanted, observed)
        return Step.START if ports_ready else Step.WAIT_FOR_PORTS
    if observed.state == "running" and wanted.power == "paused":
        return Step.PAUSE
    if observed.state == "paused" and wanted.power != "paused":
        return Step.RESUME
    if wanted.power == "suspended":
        return Step.SUSPEND
    return _settled(wanted, observed, taps, volumes)


def _settled(wanted: IntentServer, observed: ObservedServer, taps: frozenset[str], volumes: frozenset[str]) -> Step:
    """The server is in the state it should be in; what remains is its interfaces, its volumes and the record."""
    if observed.state != "absent" and observed.state != "suspended" and observed.taps != taps:
        return Step.REWIRE
    is_plugged = observed.volumes == volumes and not observed.held - volumes
    has_volumes = wanted.rescue is None or wanted.rescue.device is not None
    if has_volumes and observed.state not in ("absent", "suspended") and not is_plugged:
        return Step.REPLUG
    if observed.power_applied != wanted.power or observed.reboot_generation < wanted.reboot_generation:
        return Step.RECORD
    if observed.kept - {wanted.keep}:
        return Step.DROP_KEPT
    return _imaged(wanted, observed)


def _imaged(wanted: IntentServer, observed: ObservedServer) -> Step:
    """Nothing about the server itself is to be done; what remains is what the API wants of its disks."""
    if observed.is_frozen and observed.state in ("running", "shutdown"):
        return Step.THAW
    if wanted.give is not None and observed.given != wanted.give:
        return Step.GIVE
    return Step.NOTHING if wanted.snapshot is None or observed.imaged == wanted.snapshot else Step.IMAGE
