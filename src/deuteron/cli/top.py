"""`deuteron top`: who uses the cloud's API, and how much, since the API started."""

from __future__ import annotations

import click
import msgspec

from deuteron.cli.client import Client, NotAnswering, Refusal
from deuteron.cli.hostline import listens
from deuteron.cli.options import Refused, existing_cloud, state_option
from deuteron.sandbox.cloud import State


class Use(msgspec.Struct, frozen=True):
    """Seconds are the processor's. `writer_s` is of the one thread that writes, `loop_s` of what serves everybody."""

    requests: int
    refused: int
    loop_s: float
    reader_s: float
    writer_s: float

    @property
    def seconds(self) -> float:
        return self.loop_s + self.reader_s + self.writer_s


class Row(msgspec.Struct, frozen=True):
    key: str
    name: str
    use: Use


class Longest(msgspec.Struct, frozen=True):
    seconds: float
    request: str
    request_id: str


class Usage(msgspec.Struct, frozen=True):
    """What `top --json` prints."""

    seconds: float
    projects: tuple[Row, ...]
    addresses: tuple[Row, ...]
    longest: dict[str, Longest]


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@click.option("--lines", "-n", type=click.IntRange(min=1), default=10, show_default=True, help="Rows of each table.")
def top(state: State, as_json: bool, lines: int) -> None:
    """Show which projects and addresses use the API most, and which requests held it longest.

    Counted since the API started; seconds are the processor's. What may be limited, and how, is in docs/operations.md.
    """
    cloud = existing_cloud(state)
    if not listens(state):
        raise Refused("the cloud is not running, so nobody can be asked", "deuteron up")
    try:
        answer = Client(cloud.port, cloud.admin_password).get("/usage")
    except NotAnswering:
        raise Refused("the cloud is not running, so nobody can be asked", "deuteron up") from None
    except Refusal as error:
        raise Refused(f"the API did not answer: {error}", "deuteron logs api") from None
    usage = msgspec.convert(answer["usage"], Usage)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(usage), indent=2).decode())
        return
    click.echo(f"since {usage.seconds:.0f} s")
    _table("PROJECT", usage.projects, lines)
    _table("ADDRESS", usage.addresses, lines)
    click.echo(f"\n{'LONGEST IN':<12}{'MS':>9}  REQUEST")
    for place, found in sorted(usage.longest.items()):
        click.echo(f"{place:<12}{found.seconds * 1000:>9.1f}  {found.request} {found.request_id}")


def _table(title: str, rows: tuple[Row, ...], lines: int) -> None:
    ordered = sorted(rows, key=lambda row: row.use.seconds, reverse=True)
    shown = [(f"{row.name} {row.key}".strip(), row.use) for row in ordered[:lines]]
    width = max([len(title), *(len(name) for name, _ in shown)])
    click.echo(f"\n{title:<{width}}  {'REQUESTS':>9} {'REFUSED':>9} {'LOOP S':>9} {'READER S':>9} {'WRITER S':>9}")
    for name, use in shown:
        times = " ".join(f"{seconds:>9.2f}" for seconds in (use.loop_s, use.reader_s, use.writer_s))
        click.echo(f"{name:<{width}}  {use.requests:>9} {use.refused:>9} {times}")
    if len(rows) > lines:
        click.echo(f"and {len(rows) - lines} more")
