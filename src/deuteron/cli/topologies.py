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
