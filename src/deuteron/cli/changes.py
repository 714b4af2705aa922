"""Changing what hosts a cloud has, whether it runs or not: written down first, then carried out by the supervisor."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from deuteron.cli.options import Refused
from deuteron.cli.up import AGENTS_TIMEOUT_S, kvm_is_usable
from deuteron.sandbox import control
from deuteron.sandbox.cloud import Cloud, State, with_tokens, write_private, write_settings
from deuteron.sandbox.errors import SupervisorError
from deuteron.sandbox.topology_file import parse_topology

_APPLY_TIMEOUT_S = 60.0
_POLL_S = 0.05


def write(state: State, cloud: Cloud, text: str) -> Cloud:
    """Keep `cloud` with the topology of this text; with a crash in between the next command or `up` goes on."""
    topology = parse_topology(text, str(state.topology))
    names = {host.name for host in topology.hosts}
    changed = msgspec.structs.replace(
        with_tokens(cloud, topology),
        stopped=tuple(name for name in cloud.stopped if name in names),
        links_down={name: links for name, links in cloud.links_down.items() if name in names and links},
    )
    write_private(state.topology, text.encode())
    kvm = cloud.dataplane == "ovs" and kvm_is_usable()
    write_settings(state, changed, topology, "kvm" if kvm else "qemu")
    return changed


def carry_out(state: State) -> bool:
    """Have the supervisor make hosts and cables as they are written down, and wait; False where the cloud is down.

    Raises: Refused with why it cannot be done; SupervisorError.
    """
    reply = control.ask(state, control.Ask(do="apply"))
    if reply is None:
        return False
    serial = reply.serial
    deadline = time.monotonic() + _APPLY_TIMEOUT_S
    while True:
        reply = control.ask(state, control.Ask(do="status"))
        if reply is None:
            raise SupervisorError("the cloud ended meanwhile", "deuteron up")
        if reply.applied >= serial:
            if reply.refused is not None:
                raise Refused(reply.refused, reply.hint)
            return True
        if time.monotonic() > deadline:
            raise SupervisorError(
                f"the hosts are not as wanted after {_APPLY_TIMEOUT_S:.0f} s", "deuteron logs supervisor"
            )
        time.sleep(_POLL_S)


def wait(what: str, holds: Callable[[], bool], timeout_s: float = AGENTS_TIMEOUT_S) -> None:
    """Raises: SupervisorError when it does not hold in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise SupervisorError(f"{what}: not within {timeout_s:.0f} s", "deuteron status")
        time.sleep(_POLL_S)
