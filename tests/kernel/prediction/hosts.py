"""The machines of random clouds: hosts and `outside`, each a process in namespaces of its own, and their cables.

        outside: bridges  tunnel ── trunk ── provider ── world (tap)
                             |        |         |
h1, h2, … (processes, mounts,  eth1     eth2      eth3
network, a switch)
"""

from __future__ import annotations

import pickle
import select
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from deuteron.model.intent import HostSettings
from deuteron.trace.reach import OUTSIDE

_CABLES: Final = {"eth1": "tunnel", "eth2": "trunk", "eth3": "provider"}
TUNNELS: Final = "eth1"
_LONGEST_S: Final = 90
_OWN: Final = ("unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
_ROOT: Final = Path(__file__).parents[3]


class Machine:
    """The test's side of one of them."""

    def __init__(self, name: str, folder: Path) -> None:
        """`folder` is for its state; what it complains of goes beside it."""
        self.name = name
        self._log = folder.with_suffix(".log")
        folder.mkdir()
        # Not by -m: what is pickled names its module.
        start = f"from {__package__}.inside import main; main()"
        program = f"mount -t tmpfs none /run && exec {sys.executable} -c '{start}' {shlex.quote(str(folder))}"
        with self._log.open("ab") as errors:
            self._process = subprocess.Popen(
                [*_OWN, "sh", "-c", program],
                cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the process inside, as it is called here."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int(children.read_text().split()[0])

    def ask(self, what: str, *arguments: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump((what, arguments), self._process.stdin)
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _LONGEST_S)
        assert ready, f"host {self.name} says nothing for {_LONGEST_S} s:\n{self._log.read_text()[-4000:]}"
        try:
            is_done, told = pickle.load(self._process.stdout)
        except EOFError:
            raise AssertionError(f"host {self.name} has died:\n{self._log.read_text()[-4000:]}") from None
        assert is_done, f"host {self.name}: {told}\n{self._log.read_text()[-4000:]}"
        return told

    def do(self, what: str, *arguments: Any) -> Any:
        self.ask(what, *arguments)
        return self.answer()

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


class Machines:
    """Use as a context manager: `outside` and the hosts of `tests.property.clouds`, by their addresses."""

    def __init__(self, folder: Path, hosts: Mapping[str, str]) -> None:
        self._all = {name: Machine(name, folder / name) for name in (OUTSIDE, *hosts)}
        self.outside = self._all[OUTSIDE]
        self.hosts = {name: self._all[name] for name in hosts}

    def __enter__(self) -> Machines:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for machine in self._all.values():
            machine.end()

    def _start(self) -> None:
        self.outside.do("wires")
        for name, machine in self.hosts.items():
            machine.do("close")  # it is there
            for inside in _CABLES:
                link = f"link add {name}-{inside} type veth peer name {inside} netns {machine.pid}"
                command = ["nsenter", "-t", str(self.outside.pid), "-n", "ip", *link.split()]
                subprocess.run(command, check=True)
        cables = {f"{name}-{inside}": bridge for name in self.hosts for inside, bridge in _CABLES.items()}
        self.outside.do("cabled", cables)
        self.all("switched", self.hosts.values(), tuple(_CABLES))

    def all(self, what: str, machines: Iterable[Machine], *arguments: Any) -> list[Any]:
        """The same of several at once."""
        machines = list(machines)
        for machine in machines:
            machine.ask(what, *arguments)
        return [machine.answer() for machine in machines]


def settings_of(planned: HostSettings) -> HostSettings:
    """What the agent of a host is told here, where that of the plans of `tests.property.clouds` has no cable."""
    return msgspec.structs.replace(
        planned,
        bridge_ports={**planned.bridge_ports, "br-eth1": TUNNELS},
        bridge_addresses={"br-eth1": f"{planned.tunnel_ip}/24"},
    )
