"""The next step for a server, as a table: what is wanted, what is there, what to do."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from deuteron.compute.steps import ObservedServer, Step, next_step
from deuteron.model.intent import IntentServer, ServerPort

TAPS = frozenset({"tapaaaaaaaa-aa"})
WANTED = IntentServer(
    id="s",
    name="vm",
    project_id="p",
    user_id="u",
    hostname="vm",
    flavor_name="f",
    vcpus=1,
    memory_mib=64,
    root_disk_gib=1,
    ports=(ServerPort("aaaaaaaa-aaaa", "fa:16:3e:00:00:01", "n", 1450),),
)
RUNNING = ObservedServer("s", "running", build_generation=0, taps=TAPS, has_files=True)
ABSENT = ObservedServer("s", "absent")
OFF = msgspec.structs.replace(RUNNING, state="shutdown")


def wanted(**changes: object) -> IntentServer:
    return msgspec.structs.replace(WANTED, **changes)


def seen(base: ObservedServer, **changes: object) -> ObservedServer:
    return msgspec.structs.replace(base, **changes)


LEFT = {"leaving": "m"}
HERE = {"state": "paused", "coming": "m"}
MOVES = {
    "its guest is to leave": (wanted(leave="m"), RUNNING, Step.LEAVE),
    "it is on its way": (wanted(leave="m"), seen(RUNNING, **LEFT), Step.NOTHING),
    "all of it was sent": (wanted(leave="m"), seen(RUNNING, state="paused", **LEFT), Step.NOTHING),
    "it ended on its way": (wanted(leave="m"), seen(OFF, **LEFT), Step.NOTHING),
    "it stays after all": (WANTED, seen(RUNNING, state="paused", **LEFT), Step.STAY),
    "it is to leave once more": (wanted(leave="n"), seen(RUNNING, **LEFT), Step.STAY),
    "it stayed, and stands still": (WANTED, seen(RUNNING, state="paused"), Step.RESUME),
    "it left": (None, seen(RUNNING, state="paused", **LEFT), Step.REMOVE),
    "a guest is to come": (wanted(come="m"), ABSENT, Step.COME),
    "something of it is left": (wanted(come="n"), seen(RUNNING, **HERE), Step.COME),
    "it comes": (wanted(come="m"), seen(ABSENT, coming="m", has_files=True), Step.NOTHING),
    "all of it has come": (wanted(come="m"), seen(RUNNING, **HERE), Step.NOTHING),
    "it goes on here": (wanted(arrive="m"), seen(RUNNING, **HERE), Step.ARRIVE),
    "its QEMU died before": (wanted(arrive="m"), seen(OFF, coming="m"), Step.ARRIVE),
    "not all of it has come": (wanted(arrive="m"), seen(ABSENT, coming="m", has_files=True), Step.BUILD),
    "it came by a move that is off": (WANTED, seen(RUNNING, **HERE), Step.BUILD),
    "it came by another move": (wanted(arrive="n"), seen(RUNNING, **HERE), Step.BUILD),
    "it has gone on": (wanted(arrive="m"), RUNNING, Step.NOTHING),
    "it is not wanted here": (None, seen(RUNNING, **HERE), Step.REMOVE),
}
"""Servers that move to another host while their guests run."""
CASES = {
    **MOVES,
    "nothing wanted, nothing there": (None, ABSENT, Step.NOTHING),
    "nothing wanted, a domain": (None, RUNNING, Step.REMOVE),
    "nothing wanted, only files": (None, seen(ABSENT, has_files=True), Step.REMOVE),
    "new": (WANTED, ABSENT, Step.BUILD),
    "built": (WANTED, seen(ABSENT, build_generation=0), Step.START),
    "running as wanted": (WANTED, RUNNING, Step.NOTHING),
    "rebuild asked": (wanted(build_generation=1), RUNNING, Step.BUILD),
    "another shape": (wanted(shape_generation=1), RUNNING, Step.RESHAPE),
    "another shape of one that is off": (wanted(shape_generation=1, power="shutdown"), OFF, Step.RESHAPE),
    "a shape whose domain is lost": (wanted(shape_generation=1), seen(ABSENT, build_generation=0), Step.RESHAPE),
    "in its new shape, off": (
        wanted(shape_generation=1),
        seen(OFF, shape_generation=1, power_applied="shutdown", ended_by_guest=True),
        Step.START,
    ),
    "resized": (wanted(shape_generation=1, keep=1), seen(RUNNING, shape_generation=1, kept={1}), Step.NOTHING),
    "a resize is confirmed": (wanted(shape_generation=1), seen(RUNNING, shape_generation=1, kept={1}), Step.DROP_KEPT),
    "resized once more at once": (
        wanted(shape_generation=2, keep=2),
        seen(RUNNING, shape_generation=2, kept={1, 2}),
        Step.DROP_KEPT,
    ),
    "an image is wanted": (wanted(snapshot="i"), RUNNING, Step.IMAGE),
    "it was left frozen": (wanted(snapshot="i"), seen(RUNNING, is_frozen=True), Step.THAW),
    "it was left frozen and has ended": (
        wanted(power="shutdown"),
        seen(OFF, power_applied="shutdown", is_frozen=True),
        Step.THAW,
    ),
    "one that is frozen is to end": (wanted(power="shutdown"), seen(RUNNING, is_frozen=True), Step.SHUT_DOWN),
    "one that was frozen is suspended": (
        wanted(power="suspended"),
        seen(RUNNING, state="suspended", power_applied="suspended", is_frozen=True),
        Step.NOTHING,
    ),
    "an image of one that is off": (
        wanted(snapshot="i", power="shutdown"),
        seen(OFF, power_applied="shutdown"),
        Step.IMAGE,
    ),
    "an image of one that went off": (wanted(snapshot="i"), seen(OFF, ended_by_guest=True), Step.IMAGE),
    "an image of one that does not run yet": (wanted(snapshot="i"), OFF, Step.START),
    "its disks are to be given, it runs": (wanted(give="m", power="shutdown"), RUNNING, Step.SHUT_DOWN),
    "its disks are to be given": (
        wanted(give="m", power="shutdown"),
        seen(OFF, power_applied="shutdown"),
        Step.GIVE,
    ),
    "its disks were given": (
        wanted(give="m", power="shutdown"),
        seen(OFF, power_applied="shutdown", given="m"),
        Step.NOTHING,
    ),
    "it comes with its disks": (wanted(take="m"), ABSENT, Step.BUILD),
    "the image was taken": (wanted(snapshot="i"), seen(RUNNING, imaged="i"), Step.NOTHING),
    "died": (WANTED, OFF, Step.START),
    "crashed": (WANTED, seen(RUNNING, state="crashed"), Step.START),
    "the guest powered itself off": (WANTED, seen(OFF, ended_by_guest=True), Step.NOTHING),
    "started after a stop": (WANTED, seen(OFF, ended_by_guest=True, power_applied="shutdown"), Step.START),
    "stop": (wanted(power="shutdown"), RUNNING, Step.SHUT_DOWN),
    "stop a paused one": (wanted(power="shutdown"), seen(RUNNING, state="paused"), Step.SHUT_DOWN),
    "stopped, not recorded": (wanted(power="shutdown"), OFF, Step.RECORD),
    "stopped": (wanted(power="shutdown"), seen(OFF, power_applied="shutdown"), Step.NOTHING),
    "created to be off": (wanted(power="shutdown"), seen(ABSENT, build_generation=0), Step.DEFINE),
    "stop a suspended one": (wanted(power="shutdown"), seen(RUNNING, state="suspended"), Step.DISCARD_SUSPENDED),
    "pause": (wanted(power="paused"), RUNNING, Step.PAUSE),
    "resume from pause": (WANTED, seen(RUNNING, state="paused", power_applied="paused"), Step.RESUME),
    "suspend": (wanted(power="suspended"), RUNNING, Step.SUSPEND),
    "suspended": (wanted(power="suspended"), seen(RUNNING, state="suspended", power_applied="suspended"), Step.NOTHING),
    "resume from suspension": (WANTED, seen(RUNNING, state="suspended", power_applied="suspended"), Step.START),
    "hard reboot": (wanted(reboot_generation=1), RUNNING, Step.RESTART_HARD),
    "soft reboot": (wanted(reboot_generation=1, reboot_kind="SOFT"), RUNNING, Step.RESTART_SOFT),
    "soft reboot, already down": (wanted(reboot_generation=1, reboot_kind="SOFT"), OFF, Step.RESTART_SOFT),
    "reboot of a paused one": (
        wanted(reboot_generation=1, reboot_kind="SOFT"),
        seen(RUNNING, state="paused"),
        Step.RESTART_HARD,
    ),
    "one interface too few": (WANTED, seen(RUNNING, taps=frozenset()), Step.REWIRE),
    "one interface too many": (WANTED, seen(RUNNING, taps=TAPS | {"tapb"}), Step.REWIRE),
}


@pytest.mark.parametrize("name", CASES)
def test_the_next_step(name: str) -> None:
    server, observed, step = CASES[name]

    assert next_step(server, observed, TAPS if server else frozenset(), ports_ready=True) is step


@pytest.mark.parametrize("name", CASES)
def test_nothing_starts_before_its_ports_are_wired(name: str) -> None:
    server, observed, _ = CASES[name]

    step = next_step(server, observed, TAPS if server else frozenset(), ports_ready=False)

    assert step not in (Step.START, Step.RESTART_HARD, Step.RESTART_SOFT)


VOLUMES = frozenset({"v"})
PLUGS = {
    "a volume too few": (RUNNING, VOLUMES, Step.REPLUG),
    "a volume too many": (seen(RUNNING, volumes=VOLUMES), frozenset(), Step.REPLUG),
    "a volume that the guest let go": (seen(RUNNING, held=VOLUMES), frozenset(), Step.REPLUG),
    "the volume that it has": (seen(RUNNING, volumes=VOLUMES, held=VOLUMES), VOLUMES, Step.NOTHING),
    "a volume while it is off": (seen(OFF, power_applied="shutdown"), VOLUMES, Step.REPLUG),
    "a volume of a suspended one": (seen(RUNNING, state="suspended", power_applied="suspended"), VOLUMES, Step.NOTHING),
}


@pytest.mark.parametrize("name", PLUGS)
def test_volumes_come_and_go_as_they_are_wanted(name: str) -> None:
    observed, volumes, step = PLUGS[name]
    power = {"running": "running", "shutdown": "shutdown", "suspended": "suspended"}[observed.state]

    assert next_step(wanted(power=power), observed, TAPS, ports_ready=True, volumes=volumes) is step


def _after(step: Step, server: IntentServer | None, observed: ObservedServer) -> ObservedServer:
    """What a step that works leaves behind."""
    if server is None:
        return ABSENT
    applied = {"power_applied": server.power, "reboot_generation": server.reboot_generation, "has_files": True}
    match step:
        case Step.BUILD:
            return seen(ABSENT, build_generation=server.build_generation, has_files=True)
        case Step.START | Step.RESTART_HARD | Step.RESTART_SOFT:
            state = "paused" if server.power == "paused" else "running"
            return seen(observed, state=state, taps=TAPS, ended_by_guest=False, **applied)
        case Step.RESHAPE:
            off = {"power_applied": "shutdown", "shape_generation": server.shape_generation, "has_files": True}
            return seen(observed, state="shutdown", taps=TAPS, reboot_generation=server.reboot_generation, **off)
        case Step.SHUT_DOWN | Step.DEFINE | Step.DISCARD_SUSPENDED:
            return seen(observed, state="shutdown", taps=TAPS, **applied)
        case Step.PAUSE:
            return seen(observed, state="paused", **applied)
        case Step.RESUME:
            return seen(observed, state="running", **applied)
        case Step.SUSPEND:
            return seen(observed, state="suspended", **applied)
        case Step.REWIRE:
            return seen(observed, taps=TAPS)
        case _:
            return seen(observed, **applied)


def test_from_every_state_every_wish_is_reached_and_then_left_alone() -> None:
    states = ("running", "shutdown", "paused", "crashed", "suspended", "absent")
    wishes = [
        None,
        *(
            wanted(power=power, reboot_generation=r, build_generation=b, shape_generation=s)
            for power in ("running", "shutdown", "paused", "suspended")
            for r in (0, 1)
            for b in (0, 1)
            for s in (0, 1)
        ),
    ]
    for state, wish, taps, files in itertools.product(states, wishes, (TAPS, frozenset()), (None, 0)):
        observed = ObservedServer("s", state, build_generation=files, taps=taps, has_files=True)
        for _ in range(8):
            step = next_step(wish, observed, TAPS if wish else frozenset(), ports_ready=True)
            if step is Step.NOTHING:
                break
            observed = _after(step, wish, observed)
        assert step is Step.NOTHING, (state, wish, observed, step)
        if wish is not None:
            assert observed.state == wish.power
