"""`deuteron capture`: packets of an object of the cloud, at every device on their way at once.

Packet sockets are opened in the hosts' namespaces by a child that goes there (`onhost`), and read here: nothing runs on
a host while a capture goes on, and nothing stays there after it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

import click
import msgspec

from deuteron.cli.checks import find_program
from deuteron.cli.client import Client, NotAnswering, Refusal
from deuteron.cli.hostline import HostRefusal, listens
from deuteron.cli.onhost import NotThere, sniffers
from deuteron.cli.options import Refused, existing_cloud, state_option
from deuteron.cli.topologies import stored_topology
from deuteron.cli.traced import catalog_of, world_of
from deuteron.net.kernel.sniffer import lost, take
from deuteron.sandbox.cloud import State
from deuteron.sandbox.errors import SandboxError
from deuteron.sandbox.processes import SYSTEM_PATH
from deuteron.sandbox.topology import OUTSIDE
from deuteron.trace import bpf, pcapng
from deuteron.trace.ends import AmbiguousEnd
from deuteron.trace.follow import Follower, Journey, Place, Sighting, hops, is_shown, text
from deuteron.trace.frames import read
from deuteron.trace.places import places
from deuteron.trace.walk import NoSuchEnd

_QUIET_NS = 400_000_000
"""When a packet was seen nowhere for so long, it is told."""
_TURN_S = 0.1
_FRAMES_A_TURN = 256
_TIMEOUT_S = 10.0


@click.command()
@state_option
@click.option("--write", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the frames there as pcapng, each with its host and device.")  # fmt: skip
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N packets.")
@click.option("--seconds", type=click.FloatRange(0.1), metavar="S", help="End after S seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print each hop as JSON on a line of its own.")
@click.argument("target", metavar="PORT|SERVER|NETWORK|ROUTER")
@click.argument("words", nargs=-1, metavar="[FILTER...]")
def capture(
    state: State,
    path: Path | None,
    count: int | None,
    seconds: float | None,
    as_json: bool,
    target: str,
    words: tuple[str, ...],
) -> None:
    """Show packets at every device on their way, until Ctrl-C.

    Packets are those of a port, server, network or router, by name or id, and FILTER is tcpdump's: icmp, tcp port 80.
    It is asked about frames as they are on each device, and about what is inside of tunnels. Each packet is followed
    through tags, tunnels and address translation, and told with one line for each device.
    """
    taken = _program(" ".join(words))
    found = _places(state, target)
    opened = _opened(state, found)
    click.echo(f"looking at {len(opened)} devices on {len({found[n].host for n in opened})} hosts", err=True)
    with contextlib.ExitStack() as closing:
        for each in opened.values():
            closing.enter_context(each)
        file = closing.enter_context(_file(path, found)) if path is not None else None
        run = _Run(found, opened, taken, file, as_json)
        with _ended_by_signals(run.stop):
            run.go(count, seconds)
    lines = f"{run.shown} packet{'' if run.shown == 1 else 's'}"
    click.echo(f"{lines}{f', {run.missed} frames were too many to be looked at' if run.missed else ''}", err=True)


class _Run:
    def __init__(
        self,
        found: list[Place],
        opened: dict[int, socket.socket],
        taken: Callable[[bytes], bool],
        file: IO[bytes] | None,
        as_json: bool,
    ) -> None:
        self.shown = 0
        self.missed = 0
        self._places = found
        self._own = {number for number, place in enumerate(found) if place.is_own}
        self._by_file = {each.fileno(): (number, each) for number, each in opened.items()}
        self._taken = taken
        self._out = file
        self._as_json = as_json
        self._follower = Follower(_QUIET_NS)
        self._is_over = False

    def stop(self) -> None:
        self._is_over = True

    def go(self, count: int | None, seconds: float | None) -> None:
        """Until it was told to stop, or has seen enough; what was on its way then is told as far as it came."""
        ends_at = None if seconds is None else time.monotonic() + seconds
        waiting = select.poll()
        for file in self._by_file:
            waiting.register(file, select.POLLIN)
        while not self._is_over and not self._has(count):
            left_s = _TURN_S if ends_at is None else min(_TURN_S, ends_at - time.monotonic())
            if left_s <= 0:
                break
            for file, _ in waiting.poll(left_s * 1000):
                if not self._take(*self._by_file[file]):
                    waiting.unregister(file)
            self._tell(self._follower.over(time.time_ns()), count)
        self._tell(self._follower.over(1 << 63), count)
        for _, sniffer in self._by_file.values():
            with contextlib.suppress(OSError):
                self.missed += lost(sniffer)

    def _has(self, count: int | None) -> bool:
        return count is not None and self.shown >= count

    def _take(self, number: int, sniffer: socket.socket) -> bool:
        """Takes what a device has seen; False when the device is gone."""
        for _ in range(_FRAMES_A_TURN):
            try:
                seen = take(sniffer)
            except OSError:
                # Said once when a device goes down; of one that is gone, there is nothing to wait for any longer.
                return _is_there(sniffer)
            if seen is None:
                return True
            frame = read(seen.frame)
            wanted = self._taken(seen.frame) or (frame.inner != seen.frame and self._taken(frame.inner))
            self._follower.add(Sighting(seen.at_ns, number, seen.is_out, seen.frame, frame, wanted))
        return True

    def _tell(self, journeys: Sequence[Journey], count: int | None) -> None:
        for journey in journeys:
            if self._has(count) or not is_shown(journey, self._own):
                continue
            self.shown += 1
            lines = hops(self.shown, journey, self._places)
            if self._as_json:
                told = [msgspec.json.encode(line).decode() for line in lines]
            else:
                told = list(text(lines))
            click.echo("\n".join(told))
            if self._out is not None:
                for each in journey.in_order():
                    self._out.write(pcapng.packet(each.place, each.at_ns, each.raw, is_out=each.is_out))
                self._out.flush()


def _is_there(sniffer: socket.socket) -> bool:
    """Whether a packet socket still has its device."""
    return str(sniffer.getsockname()[0]) != ""


def _program(words: str) -> Callable[[bytes], bool]:
    """Whether a frame is wanted, as tcpdump reads the filter. Raises: Refused."""
    if not words.strip():
        return lambda _: True
    tcpdump = find_program("tcpdump")
    if tcpdump is None:
        advice = "sudo apt-get install --no-install-recommends tcpdump"
        raise Refused("tcpdump is missing, which reads filters; without a filter it is not needed", advice)
    asked = [tcpdump, "-ddd", "-y", "EN10MB", "--", words]
    try:
        done = subprocess.run(
            asked, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL,
            env={"PATH": SYSTEM_PATH, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Refused(f'tcpdump does not come to an end with the filter "{words}"') from None
    if done.returncode != 0:
        complaint = (done.stderr.strip().splitlines() or ["it is none"])[-1].removeprefix("tcpdump: ")
        raise Refused(
            f'cannot use the filter "{words}": {complaint}', "a filter is as in man pcap-filter: icmp, port 22"
        )
    try:
        instructions = bpf.program(done.stdout)
    except bpf.NotAProgram as error:
        raise Refused(f'cannot use what tcpdump makes of the filter "{words}": {error}') from None
    return lambda frame: bpf.matches(instructions, frame)


def _places(state: State, word: str) -> list[Place]:
    """The devices of what was meant. Raises: Refused."""
    cloud = existing_cloud(state)
    if cloud.dataplane != "ovs":
        raise Refused("this cloud has no data plane, so no packet is anywhere in it", "deuteron doctor")
    down = Refused("the cloud is not running, so nobody can be asked", "deuteron up")
    if not listens(state):
        raise down
    outside = stored_topology(state).host(OUTSIDE)
    try:
        catalog = catalog_of(Client(cloud.port, cloud.admin_password))
        world = world_of(state, cloud, catalog)
        _, found = places(world, catalog, word, outside.physical_interfaces if outside is not None else {})
    except NotAnswering:
        raise down from None
    except (Refusal, HostRefusal) as error:
        raise Refused(f"the API did not answer: {error}", "deuteron logs api") from None
    except AmbiguousEnd as error:
        raise Refused(str(error), "say which by its id") from None
    except NoSuchEnd as error:
        raise Refused(str(error), "a capture is of a port, server, network or router, by name or id") from None
    return found


def _opened(state: State, found: Sequence[Place]) -> dict[int, socket.socket]:
    """A socket for each place, by its number; of places that are not there yet, or whose host is off, none."""
    opened: dict[int, socket.socket] = {}
    for host in dict.fromkeys(place.host for place in found):
        mine = [number for number, place in enumerate(found) if place.host == host]
        try:
            there, missing = sniffers(state, host, [(found[n].namespace, found[n].device) for n in mine])
        except (NotThere, SandboxError) as error:
            click.echo(f"cannot look at host {host}: {error}", err=True)
            continue
        for number in mine:
            place = (found[number].namespace, found[number].device)
            if place in there:
                opened[number] = there[place]
            else:
                click.echo(f"cannot look at {found[number].words} of host {host}: {missing[place]}", err=True)
    if not opened:
        raise Refused("there is no device to look at", "deuteron status")
    return opened


@contextlib.contextmanager
def _file(path: Path, found: Sequence[Place]) -> Iterator[IO[bytes]]:
    """What was captured is for who captured it."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(f'cannot write "{path}": {(error.strerror or str(error)).lower()}', "another FILE") from None
    with os.fdopen(fd, "wb") as file:
        file.write(pcapng.header("deuteron capture", [(place.name, place.about) for place in found]))
        file.flush()
        yield file


@contextlib.contextmanager
def _ended_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and a plain kill end a capture in good order."""

    def ended(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, ended) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
