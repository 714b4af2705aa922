"""The sandbox's first process: makes the networks and hosts, keeps their processes alive, reaps orphans.

It is process 1 of the sandbox's pid namespace. When it ends, for whatever reason, the kernel kills
everything in the sandbox; when its parent ends, it ends. So there is never half a sandbox, and nothing is
left of a whole one.

It talks to the supervisor outside over a socket pair, one JSON object per packet:

    init to supervisor   {"host": NAME} with the host's three namespace files   once per host
                         {"ready": true}                                         all hosts are there
                         {"failed": MESSAGE, "hint": HINT}                       and then ends
                         {"children": [ChildStatus, ...]}                        whenever one changed
    supervisor to init   {"stop": true}, {"restart": NAME}
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
import traceback

import msgspec

from . import namespaces as ns
from .children import Family
from .cloud import Cloud, State
from .errors import SandboxError
from .hosts import HostNamespaces, make_hosts, make_networks
from .processes import host_processes
from .topology import Topology

SANDBOX_FLAGS = ns.CLONE_NEWNS | ns.CLONE_NEWNET | ns.CLONE_NEWPID | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC
STAGE_S = 4.0
"""How long the agents, then everything else, may take to end after SIGTERM."""


class Message(msgspec.Struct, omit_defaults=True):
    """Any packet between init and supervisor; see the module's docstring."""

    host: str | None = None
    ready: bool = False
    failed: str | None = None
    hint: str | None = None
    children: list[dict[str, object]] | None = None
    stop: bool = False
    restart: str | None = None


def run_init(
    cloud: Cloud, topology: Topology, state: State, kvm: bool, python: str, link: socket.socket
) -> None:
    """Be the sandbox's init. Never returns."""
    status = 1
    try:
        _set_up_signals()
        try:
            # 1: the parent reaped the process between us, so it is the supervisor whose end we follow.
            link.recv(1)
            ns.die_with_parent(signal.SIGKILL)
            ns.make_mounts_private()
            ns.mount("proc", "/proc", "proc", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
            ns.set_hostname(cloud.name)
            make_networks()
            namespaces = make_hosts(topology, state, kvm)
        except (OSError, SandboxError) as error:
            traceback.print_exc()
            hint = error.hint if isinstance(error, SandboxError) else "deuteron doctor"
            _send(link, Message(failed=f"cannot make the sandbox: {error}", hint=hint))
            return
        for name, files in namespaces.items():
            socket.send_fds(link, [msgspec.json.encode(Message(host=name))], list(files))
        _send(link, Message(ready=True))
        family = Family()
        for host in topology.hosts:
            for spec in host_processes(host, cloud, state, python, ns_source()):
                family.add(spec, namespaces[host.name].enter)
        _keep(family, link)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ns_source() -> "os.PathLike[str]":  # replaced below
    raise NotImplementedError
