"""`deuteron diff`: how a host differs from what it should be, as its agent sees it now.

The question goes over the API's Unix socket, to which only the cloud's owner and its agents have access, and
from there over the host's own line to its agent. Asking changes nothing; the agent then mends what it found.
"""

from __future__ import annotations

import sys

import click
import msgspec

from deuteron.cli.client import NotAnswering
from deuteron.cli.hostline import HostRefusal, ask_host
from deuteron.cli.options import Refused, existing_cloud, state_option
from deuteron.cli.topologies import stored_topology
from deuteron.model.intent import Difference
from deuteron.sandbox import control
from deuteron.sandbox.cloud import Cloud, State
from deuteron.sandbox.control import Ask
from deuteron.sandbox.outside_services import PROCESS
from deuteron.sandbox.topology import OUTSIDE


class HostDifferences(msgspec.Struct, frozen=True):
    """One host in the output of `diff --json`; `problem` says why nobody could answer for it."""

    host: str
    differences: tuple[Difference, ...] = ()
    problem: str | None = None


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@click.argument("host", required=False)
def diff(state: State, host: str | None, as_json: bool) -> None:
    """Show what is not as it should be on HOST, or on every host: wanted against actual.

    Ends with status 0 when nothing differs, else with 1. The agent mends what differs by itself, and says so in
    its log; what stays here is what it cannot mend. Of the host outside, where it serves DNS or DHCP, this shows
    which of its processes do not run.
    """
    cloud = existing_cloud(state)
    topology = stored_topology(state)
    names = [agent.name for agent in topology.agents]
    if topology.outside.is_served and cloud.dataplane != "none":
        names.append(OUTSIDE)
    if host is not None and host not in names:
        raise Refused(f'there is no agent on host "{host}"', f"hosts with agents are {', '.join(names)}")
    found = [_look(state) if name == OUTSIDE else _ask(state, cloud, name) for name in ([host] if host else names)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        for item in found:
            _print(item)
    sys.exit(0 if not any(item.differences or item.problem for item in found) else 1)


def _print(found: HostDifferences) -> None:
    if found.problem is not None:
        click.echo(f"{found.host}: {found.problem}", err=True)
    elif not found.differences:
        click.echo(f"{found.host}: everything is as it should be")
    for difference in found.differences:
        click.echo(f"{found.host}: {difference.words}")


def _ask(state: State, cloud: Cloud, host: str) -> HostDifferences:
    try:
        return HostDifferences(host, ask_host(state, cloud, host, "diff", tuple[Difference, ...]))
    except (NotAnswering, HostRefusal) as problem:
        return HostDifferences(host, problem=str(problem))


def _look(state: State) -> HostDifferences:
    """What is not as it should be on `outside`, which has no agent: it mends its files itself within a second."""
    reply = control.ask(state, Ask(do="status"))
    if reply is None:
        return HostDifferences(OUTSIDE, problem="the cloud is not running, so nobody can be asked")
    known = {child.name: child for child in reply.children if child.host == OUTSIDE}
    found: list[Difference] = []
    for name in (f"{OUTSIDE}-gateways", f"{OUTSIDE}-{PROCESS}"):
        child = known.get(name)
        if child is None:
            found.append(Difference("process", "missing", f"process {name}"))
        elif child.state != "running":
            actual = f"process {name} is {child.state}" + (f" ({child.last_exit})" if child.last_exit else "")
            found.append(Difference("process", "differs", f"process {name} is running", actual))
    return HostDifferences(OUTSIDE, tuple(found))
