"""Which topology a cloud has: what `--topology` names, and what the state folder keeps."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from deuteron.sandbox.cloud import State
from deuteron.sandbox.custody import read_own
from deuteron.sandbox.errors import TopologyError
from deuteron.sandbox.named_topologies import NAMES, named
from deuteron.sandbox.topology import Topology
from deuteron.sandbox.topology_file import parse_topology


class Given(NamedTuple):
    """The text of a topology, and what messages call it."""

    text: str
    source: str


def chosen(wanted: str | None, compute: int | None) -> Given | None:
    """What `--topology` and `--compute` ask for; None where they say nothing. A name comes before a file called so.

    Raises: TopologyError.
    """
    if wanted is None:
        if compute is not None:
            raise TopologyError("cannot use --compute without a topology", "deuteron up --topology seed-e --compute N")
        return None
    text = named(wanted, compute)
    if text is not None:
        return Given(text, f"topology {wanted}")
    if compute is not None:
        raise TopologyError(
            f"cannot use --compute with the file {wanted}: it says itself which hosts compute",
            'write compute = ["NAME", …] under [groups]',
        )
    try:
        return Given(Path(wanted).read_text(), wanted)
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise TopologyError(
            f'cannot find topology "{wanted}": {words[:1].lower()}{words[1:]}',
            f"it is one of {', '.join(NAMES)}, or a file",
        ) from error


def stored_topology(state: State) -> Topology:
    """The topology the cloud in `state` was started with.

    Raises: TopologyError if it is damaged.
    """
    try:
        return parse_topology(read_own(state.topology).decode(), str(state.topology))
    except FileNotFoundError as error:
        raise TopologyError(f"cannot find {state.topology}", "deuteron up --topology FILE") from error


def refuse_abandoned(state: State, given: Given) -> None:
    """Who takes a host out of the topology is told first that what it carries stays behind.

    Also for a host that loses a group. A cloud that is down cannot be asked what that is.

    Raises: TopologyError.
    """
    new = {host.name: host for host in parse_topology(given.text, given.source).hosts}
    for host in stored_topology(state).agents:
        lost = set(host.roles) - set(new[host.name].roles if host.name in new else ())
        if lost:
            what = "is not in" if host.name not in new else f"is not in group {' and '.join(sorted(lost))} of"
            raise TopologyError(
                f'host "{host.name}" of the cloud {what} {given.source}: servers, routers, DHCP and volumes '
                "that it has would stand still",
                f"deuteron up, then deuteron host remove {host.name} moves them; --abandon leaves them behind",
            )
