"""The hosts of a running sandbox: made, ended and connected so that they are as the cloud wants them.

Level-triggered: `become` compares what is there with what is wanted, so that it may be told the same twice, and a
sandbox that begins anew is told the whole. A host that ends is a machine whose power fails after a moment's notice: its
processes are ended and its namespaces go, and with them all that was in memory; its folder stays.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from .cables import links_of, plug, unplug
from .children import Family
from .cloud import Cloud, State
from .errors import NamespaceError
from .hosts import HostNamespaces, make_hosts, name_hosts
from .processes import host_processes
from .topology import Host, Topology
from .topology_file import parse_topology

NOTICE_S = 2.0
"""How long the agent of a host, then everything else on it, may take to end after SIGTERM."""


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the hosts are to be: the text of the topology, and what was switched off in it."""

    topology: str
    stopped: tuple[str, ...] = ()
    links_down: dict[str, tuple[str, ...]] = {}
    """The interfaces of a host whose cables are out."""


class Fleet:
    """The hosts that are there. `arrived` and `gone` are told of each that comes and goes."""

    def __init__(
        self,
        cloud: Cloud,
        state: State,
        kvm: bool,
        program: tuple[str, Path],
        family: Family,
        arrived: Callable[[str, HostNamespaces], None],
        gone: Callable[[str], None],
        reap: Callable[[Family], None],
    ) -> None:
        self._cloud, self._state, self._kvm = cloud, state, kvm
        self._python, self._source = program
        self._family = family
        self._arrived, self._gone, self._reap = arrived, gone, reap
        self._hosts: dict[str, tuple[Host, HostNamespaces]] = {}
        self._topology: Topology | None = None

    def become(self, wanted: Wanted) -> None:
        """End the hosts that are not wanted, make those that are not there, and pull or plug cables.

        Raises: NamespaceError; OSError; TopologyError.
        """
        topology = parse_topology(wanted.topology)
        before, self._topology = self._topology or topology, topology
        wanted_hosts = {host.name: host for host in topology.hosts if host.name not in wanted.stopped}
        for name in [name for name in self._hosts if name not in wanted_hosts]:
            self._end(name, before)
        name_hosts(self._hosts, topology, self._state)
        new = [host for name, host in wanted_hosts.items() if name not in self._hosts]
        for host in new:
            unplug(links_of(host, topology))  # a host that was just ended may still have its own
        made = make_hosts(new, topology, self._state, self._kvm, self._cloud.origins)
        for host in new:
            self._hosts[host.name] = host, made[host.name]
        for host, _ in self._hosts.values():
            plug(links_of(host, topology), wanted.links_down.get(host.name, ()))
        for host in new:
            self._arrived(host.name, made[host.name])
            for spec in host_processes(host, self._cloud, self._state, self._python, self._source):
                self._family.add(spec, made[host.name].enter)

    def _end(self, name: str, topology: Topology) -> None:
        host, namespaces = self._hosts[name]
        agents = [
            status.pid
            for status in self._family.statuses()
            if status.host == name and status.name.endswith("-agent") and status.pid is not None
        ]
        self._family.remove(name)
        # The agent first, since it would repair what the others' ends break.
        for pid in agents:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self._wait(lambda: not set(agents) & set(namespaces.processes()))
        self._signal(namespaces, signal.SIGTERM)
        self._wait(lambda: not namespaces.processes())
        # Again and again: one that is just being started is not seen in its parent's stead.
        deadline = time.monotonic() + NOTICE_S
        while namespaces.processes() and time.monotonic() < deadline:
            self._signal(namespaces, signal.SIGKILL)
            self._reap(self._family)
            time.sleep(0.01)
        if left := namespaces.processes():
            raise NamespaceError(
                f'cannot end host "{name}": process {left[0]} does not end', "deuteron logs supervisor"
            )
        del self._hosts[name]
        namespaces.close()
        unplug(links_of(host, topology))
        self._gone(name)

    def _signal(self, namespaces: HostNamespaces, number: int) -> None:
        for pid in namespaces.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _wait(self, over: Callable[[], bool]) -> None:
        deadline = time.monotonic() + NOTICE_S
        while time.monotonic() < deadline:
            self._reap(self._family)
            self._family.tick()
            if over():
                return
            time.sleep(0.01)
