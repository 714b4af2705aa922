"""The one process outside of the sandbox that keeps a cloud running: it starts the API and the sandbox's init.

    deuteron up ── starts ──> supervisor ──> api                  (confined; see `confine`)
                                   └───────> init of the sandbox ──> ovsdb-server, ovs-vswitchd, libvirtd, agent

It holds `run/supervisor.lock` for its whole life, so a state folder never has two. When it is killed, the API
and the sandbox end with it (`die_with_parent`), and the next `up` starts from the state folder as after a
reboot. When the sandbox's init ends, all hosts start anew, as after a power failure of all of them.

Run as `python -m deuteron.sandbox.supervisor --state-dir DIR [--kvm]`; its own log is its standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

import deuteron

from . import namespaces as ns
from .children import ChildStatus, Family
from .cloud import Cloud, Failure, State, open_state, read_cloud, write_private
from .confine import confine, open_devices, open_ways
from .control import NAMESPACE_KINDS, Ask, Phase, Reply
from .custody import read_own
from .enclosure import Sandbox, start_sandbox
from .errors import NamespaceError, SandboxError, SupervisorError
from .fleet import Wanted
from .identities import RANGE_LENGTH
from .init import STAGE_S, Message, reap, run_init, wake_on_signals
from .logs import Logs
from .processes import api_process, host_processes, simulated_agent
from .topology_file import parse_topology

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 30.0
_OUTER_KINDS = {"user": ns.CLONE_NEWUSER, "pid": ns.CLONE_NEWPID, "ipc": ns.CLONE_NEWIPC}


def main() -> int:
    parser = argparse.ArgumentParser(prog="deuteron-supervisor", description="Keep one cloud running.")
    parser.add_argument("--state-dir", required=True, type=Path)
    parser.add_argument("--kvm", action="store_true", help="show /dev/kvm to the hosts")
    parser.add_argument("--claim", type=int, help="inherited file that keeps the API's port for this cloud")
    arguments = parser.parse_args()
    if arguments.claim is not None:
        # Ours alone: it goes with us, and not with the last of our children.
        os.set_inheritable(arguments.claim, False)
    state = open_state(arguments.state_dir)
    # Held until this process ends.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(state.run / "supervisor.lock", flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another supervisor has this state folder", file=sys.stderr)
        return 1
    state.failure.unlink(missing_ok=True)
    try:
        cloud = read_cloud(state)
        if cloud is None:
            raise SupervisorError(f"there is no cloud in {state.folder}", "deuteron up")
        Supervisor(state, cloud, read_own(state.topology).decode(), arguments.kvm).run()
    except SandboxError as error:
        print(error.message, file=sys.stderr)
        write_private(state.failure, msgspec.json.encode(Failure(error.message, error.hint)))
        return 1
    finally:
        state.control_socket.unlink(missing_ok=True)
    return 0


class Supervisor:
    """One cloud's processes. `run` returns when the cloud was asked to stop."""

    def __init__(self, state: State, cloud: Cloud, topology: str, kvm: bool) -> None:
        self._state = state
        self._cloud = cloud
        self._text = topology
        self._topology = parse_topology(topology, str(state.topology))
        self._kvm = kvm
        self._source = Path(deuteron.__file__).resolve().parent.parent
        self._pid = os.getpid()
        self._started_at = time.time()
        self._logs = Logs(state.logs)
        self._family = Family(self._logs.open)
        # Only these: what the sandbox says about itself is not to be believed.
        self._inner_names = self._names_of_processes()
        self._serial = self._applied = 0
        self._refused: tuple[str, str | None] | None = None
        self._sandbox: Sandbox | None = None
        self._problem: str | None = None
        self._phase: Phase = "none" if cloud.dataplane == "none" else "starting"
        self._retry_at = 0.0
        self._delay_s = _FIRST_DELAY_S
        self._waiting_to_stop: list[socket.socket] = []

    def run(self) -> None:
        """Keep the cloud until it is to stop. What is printed here goes the way of all logs."""
        sys.stdout.flush()
        before = [os.dup(fd) for fd in (1, 2)]
        own = self._logs.open("supervisor")
        for fd in (1, 2):
            os.dup2(own, fd)
        os.close(own)
        try:
            self._run()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for fd, old in zip((1, 2), before, strict=True):
                os.dup2(old, fd)
                os.close(old)
            self._logs.close()

    def _run(self) -> None:
        ns.adopt_orphans()
        wake = wake_on_signals()
        control = self._listen()
        stopping = _Flag()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        self._family.add(api_process(self._state, sys.executable, self._source), self._enter_api)
        self._tend_simulated()
        while not stopping.is_set:
            self._family.changed = False
            wait_s = self._family.tick()
            sandbox_wait_s = self._tend_sandbox()
            waits = [wait for wait in (wait_s, sandbox_wait_s) if wait is not None]
            sources: list[socket.socket | Logs] = [wake, control, self._logs]
            if self._sandbox is not None:
                sources.append(self._sandbox.link)
            readable, _, _ = select.select(sources, [], [], min(waits, default=None))
            if wake in readable:
                with contextlib.suppress(BlockingIOError):
                    wake.recv(4096)
            if self._logs in readable:
                self._logs.drain()
            self._reap()
            if self._sandbox is not None and self._sandbox.link in readable:
                self._hear_sandbox(self._sandbox)
            if control in readable and self._serve(control):
                stopping.set()
        self._phase = "stopping"
        self._stop()

    # --- the API -------------------------------------------------------------------------------------------------

    def _enter_api(self) -> None:
        """In the API's process, before exec."""
        if self._cloud.api_uid is not None:
            confine(self._cloud.api_uid, [self._state.api, *self._programs()], self._pid)
        else:
            os.umask(0o077)
            ns.forbid_new_privileges()
            ns.die_with_parent(signal.SIGKILL, self._pid)

    def _enter_simulated(self, host: str) -> None:
        """In the process of a host's agent without a data plane, before exec."""
        if self._cloud.host_ids is None:
            ns.die_with_parent(signal.SIGTERM, self._pid)
            return
        paths = [self._state.host(host), self._state.api, *self._programs()]
        confine(self._cloud.host_ids, paths, self._pid, self._api_groups())

    def _tend_simulated(self) -> None:
        """Without a data plane: agents of the hosts that are to be there, and of no others."""
        if self._cloud.dataplane != "none":
            return
        wanted = {host.name: host for host in self._topology.agents if host.name not in self._cloud.stopped}
        there = {status.host: status.pid for status in self._family.statuses() if status.host}
        for name in there.keys() - wanted.keys():
            self._family.tell(f"{name}-agent", signal.SIGTERM)
            self._family.remove(name)
        for name in [name for name in wanted if name not in there]:
            agent = simulated_agent(wanted[name], self._state, sys.executable, self._source)
            self._family.add(agent, functools.partial(self._enter_simulated, name))

    def _programs(self) -> list[Path]:
        """Where our own programs are; the system's folders are open to everybody."""
        folders = (self._source, Path(sys.prefix), Path(sys.base_prefix))
        return [path for path in folders if str(path) not in ("/", "/usr", "/usr/local")]

    def _api_groups(self) -> tuple[int, ...]:
        """The group that may connect to the API's socket."""
        return (self._cloud.api_uid,) if self._cloud.api_uid is not None else ()

    # --- the sandbox ---------------------------------------------------------------------------------------------

    def _tend_sandbox(self) -> float | None:
        """Make the sandbox when there should be one; returns the seconds until the next try."""
        if self._cloud.dataplane == "none" or self._sandbox is not None:
            return None
        now = time.monotonic()
        if now < self._retry_at:
            return self._retry_at - now
        self._phase = "starting"
        first = self._cloud.host_ids
        maps = ns.range_maps(first, RANGE_LENGTH) if first is not None else None
        if os.getuid() != 0:
            maps = ns.user_id_maps()
        self._sandbox = start_sandbox(
            lambda link: run_init(
                self._cloud, self._wanted(), self._state, self._kvm, (sys.executable, self._source), link
            ),
            maps,
            self._prepare_sandbox if first is not None else lambda: None,
        )
        return None

    def _wanted(self) -> Wanted:
        return Wanted(self._text, self._cloud.stopped, self._cloud.links_down)

    def _names_of_processes(self) -> frozenset[str]:
        hosts = self._topology.hosts
        inner = (spec for host in hosts for spec in host_processes(host, self._cloud, self._state, "", self._source))
        return frozenset(spec.name for spec in inner)

    def _apply(self, reply: Reply) -> None:
        """Take what the state folder says of hosts now, and have it carried out.

        The API hears of hosts that join and leave by SIGHUP.
        """
        try:
            cloud = read_cloud(self._state)
            text = read_own(self._state.topology).decode()
            topology = parse_topology(text, str(self._state.topology))
        except (OSError, UnicodeDecodeError) as error:
            reply.error = f"cannot read {self._state.topology}: {error}"
            return
        except SandboxError as error:
            reply.error, reply.hint = error.message, error.hint
            return
        if cloud is None:
            reply.error = f"cannot find {self._state.record}"
            return
        self._cloud, self._text, self._topology = cloud, text, topology
        # Those that leave have last words.
        self._inner_names |= self._names_of_processes()
        self._family.tell("api", signal.SIGHUP)
        self._serial += 1
        self._refused = None
        reply.serial = self._serial
        if self._cloud.dataplane == "none":
            self._tend_simulated()
            self._applied = self._serial
        elif self._sandbox is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it begins anew, with what is wanted now
                self._sandbox.link.send(msgspec.json.encode(Message(serial=self._serial, wanted=self._wanted())))

    def _prepare_sandbox(self) -> None:
        """In a child, as root of the machine: what root of the sandbox could not do, or is not to do.

        The sandbox sees the hosts' folders and the API's in the state folder, and has the devices that guests need.
        """
        ns.unshare(ns.CLONE_NEWNS)
        ns.make_mounts_private()
        open_devices(("net/tun", "kvm"), self._state.run)
        open_ways([self._state.folder / "hosts", self._state.api, *self._programs()])
        os.setgroups(self._api_groups())

    def _hear_sandbox(self, sandbox: Sandbox) -> None:
        try:
            packet, files, _, _ = socket.recv_fds(sandbox.link, 1 << 20, 8, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            # It was killed with something from us unread.
            packet, files = b"", []
        if not packet:
            self._lose_sandbox("the sandbox's init closed its link")
            return
        message = msgspec.json.decode(packet, type=Message)
        if message.host is not None:
            sandbox.forget(message.host)
            sandbox.hosts[message.host] = tuple(files)
        elif message.log in self._inner_names and len(files) == 1:
            self._logs.adopt(message.log, files[0])
        else:
            for fd in files:
                os.close(fd)
        if message.children is not None:
            sandbox.children = tuple(message.children)
        if message.gone is not None:
            sandbox.forget(message.gone)
        if message.serial is not None:
            self._applied = message.serial
            self._refused = None if message.failed is None else (message.failed, message.hint)
            return
        if message.ready:
            self._phase = "ready"
            self._applied = self._serial
            self._problem = None
            self._delay_s = _FIRST_DELAY_S
        if message.failed is not None:
            if self._delay_s == _FIRST_DELAY_S:
                # It never worked: trying again would only hide the reason from `up`.
                self._stop()
                raise NamespaceError(message.failed, message.hint)
            self._lose_sandbox(message.failed)

    def _lose_sandbox(self, why: str) -> None:
        if self._sandbox is None:
            return
        print(f"{why}; starting it again in {self._delay_s:.0f} s", file=sys.stderr)
        self._problem = why
        self._sandbox.close()
        self._sandbox = None
        self._phase = "failed"
        self._retry_at = time.monotonic() + self._delay_s
        self._delay_s = min(self._delay_s * 2, _LONGEST_DELAY_S)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._family.reaped(pid, status):
                continue
            if self._sandbox is not None and pid == self._sandbox.pid:
                # What it still had to say is in the link; its end is heard there as well.
                self._sandbox.pid = None

    # --- control -------------------------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        self._state.control_socket.unlink(missing_ok=True)
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        control.bind(str(self._state.control_socket))
        os.chmod(self._state.control_socket, 0o600)
        control.listen(16)
        return control

    def _serve(self, control: socket.socket) -> bool:
        """Answer one client; True if it asked us to stop."""
        link, _ = control.accept()
        link.settimeout(2)
        keep = False
        files: list[int] = []
        try:
            data = b""
            while not data.endswith(b"\n"):
                part = link.recv(65536)
                if not part:
                    return False
                data += part
            question = msgspec.json.decode(data, type=Ask)
            reply = self._answer(question, files)
            socket.send_fds(link, [msgspec.json.encode(reply) + b"\n"], files)
            keep = question.do == "stop"
        except (OSError, msgspec.MsgspecError) as error:
            print(f"a client of the control socket: {error}", file=sys.stderr)
        finally:
            for fd in files[: len(_OUTER_KINDS)]:
                os.close(fd)
            if keep:
                self._waiting_to_stop.append(link)
            else:
                link.close()
        return keep

    def _answer(self, question: Ask, files: list[int]) -> Reply:
        reply = Reply(pid=os.getpid(), started_at=self._started_at, sandbox=self._phase)
        if question.do == "status":
            inner = self._sandbox.children if self._sandbox is not None else ()
            reply.children = (*self._family.statuses(), *inner)
            reply.outer_pids = self._outer_pids(inner)
            reply.error = self._problem
            reply.serial, reply.applied = self._serial, self._applied
            if self._sandbox is not None:
                reply.hosts = tuple(self._sandbox.hosts)
            elif self._cloud.dataplane == "none":
                reply.hosts = tuple(child.host for child in self._family.statuses() if child.host)
            if self._refused is not None:
                reply.refused, reply.hint = self._refused
        elif question.do == "apply":
            self._apply(reply)
        elif question.do == "restart":
            known = [status.name for status in self._family.statuses()]
            if question.name in known:
                self._family.restart(question.name)
            elif self._sandbox is not None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its end is heard soon
                    self._sandbox.link.send(msgspec.json.encode(Message(restart=question.name)))
        elif question.do == "hold":
            self._family.hold()
            if self._sandbox is not None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self._sandbox.link.send(msgspec.json.encode(Message(hold=True)))
        elif question.do == "enter":
            self._lend_namespaces(question.name, reply, files)
        return reply

    def _lend_namespaces(self, host: str, reply: Reply, files: list[int]) -> None:
        """Put the namespace files of `host` into `files`: first ours to close, then the host's."""
        names = ", ".join(known.name for known in self._topology.hosts)
        if self._cloud.dataplane == "none":
            reply.error, reply.hint = "this cloud has no data plane, so its hosts cannot be entered", "deuteron doctor"
        elif self._topology.host(host) is None:
            reply.error, reply.hint = f'there is no host "{host}"', f"hosts are {names}"
        elif host in self._cloud.stopped:
            reply.error, reply.hint = f'host "{host}" is stopped', f"deuteron host start {host}"
        elif self._sandbox is None or self._sandbox.pid is None or host not in self._sandbox.hosts:
            reply.error, reply.hint = f'host "{host}" is not up yet', "deuteron status"
        else:
            folder = f"/proc/{self._sandbox.pid}/ns"
            files += [os.open(f"{folder}/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in _OUTER_KINDS]
            files += self._sandbox.hosts[host]
            reply.kinds = NAMESPACE_KINDS

    def _outer_pids(self, inner: tuple[ChildStatus, ...]) -> dict[str, int]:
        """Where our children and those of the sandbox's init are in our own pid namespace."""
        pids = {status.name: status.pid for status in self._family.statuses() if status.pid is not None}
        if self._sandbox is None or self._sandbox.pid is None:
            return pids
        init = self._sandbox.pid
        pids["sandbox"] = init
        by_inner = {status.pid: status.name for status in inner if status.pid is not None}
        with contextlib.suppress(OSError):
            for word in Path(f"/proc/{init}/task/{init}/children").read_text().split():
                for line in Path(f"/proc/{word}/status").read_text().splitlines():
                    if line.startswith("NSpid:"):
                        name = by_inner.get(int(line.split()[-1]))
                        if name is not None:
                            pids[name] = int(word)
        return pids

    # --- the end -------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """End the sandbox and the API side by side, and see them gone."""
        self._family.begin_stop()
        if self._sandbox is not None:
            with contextlib.suppress(OSError):
                self._sandbox.link.send(msgspec.json.encode(Message(stop=True)))
        self._family.signal(signal.SIGTERM)
        deadline = time.monotonic() + 2 * STAGE_S + 1
        while time.monotonic() < deadline:
            self._logs.drain()
            self._reap()
            if not self._family.alive() and (self._sandbox is None or self._sandbox.pid is None):
                break
            time.sleep(0.01)
        self._family.signal(signal.SIGKILL)
        if self._sandbox is not None:
            if self._sandbox.pid is not None:
                os.kill(self._sandbox.pid, signal.SIGKILL)
            self._sandbox.close()
        reap(self._family)


class _Flag:
    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True


if __name__ == "__main__":
    sys.exit(main())
