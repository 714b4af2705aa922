"""`deuteron trace`: where a packet would pass and where it would end, from the plans of all hosts (`traced`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import msgspec

from deuteron.cli.options import state_option
from deuteron.sandbox.cloud import State

_SMALL_BYTES = 84
"""What `ping` sends."""


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the trace as JSON.")
@click.option(
    "--picture",
    "file",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Draw the trace into this file, as SVG; - is the output.",
)
@click.option("--size", type=click.IntRange(28, 65535), default=_SMALL_BYTES, show_default=True, metavar="BYTES",
              help="Of the IP packet, which may not be fragmented.")  # fmt: skip
@click.option("--address", metavar="ADDRESS", help="Send from this address, whatever the port may use.")
@click.option("--gateway", metavar="ADDRESS", help="The guest takes this for its gateway, whatever it was told.")
@click.option("--live", "is_live", is_flag=True, help="Ask the hosts as well, and send one packet.")
@click.argument("source")
@click.argument("destination")
@click.argument("protocol", default="icmp")
def trace(
    state: State,
    as_json: bool,
    file: Path | None,
    size: int,
    address: str | None,
    gateway: str | None,
    is_live: bool,
    source: str,
    destination: str,
    protocol: str,
) -> None:
    """Show where a packet from SOURCE to DESTINATION passes, and what stops it.

    Each is a server, port, router or floating IP, by name or id; an address; NETWORK/ADDRESS; or `outside`. PROTOCOL is
    icmp, tcp/22, udp/53 or sctp/5000. Every hop is shown with the rule as it is planned for the kernel, there and back.
    No packet is sent. Ends with status 0 when the packet arrives and its answer comes back, else with 1.

    With --live, the switches, routes and rules of the hosts on the way are asked as well, and one packet is sent and
    looked for at each device. Then it ends with 1 also when the cloud does otherwise than planned.
    """
    from deuteron.cli.traced import traced  # it loads all of planning, which no other command needs

    if as_json and str(file) == "-":
        raise click.UsageError("the output is JSON or a picture, not both")
    told, live, text, drawn = traced(state, source, destination, protocol, size, address, gateway, is_live)
    if file is not None and str(file) != "-":
        _write(file, drawn())
    if str(file) == "-":
        click.echo(drawn(), nl=False)
    elif as_json:
        both = msgspec.to_builtins(told) | ({} if live is None else {"live": msgspec.to_builtins(live)})
        click.echo(msgspec.json.format(msgspec.json.encode(both), indent=2).decode())
    else:
        for line in text:
            click.echo(line)
    sys.exit(0 if told.is_answered and (live is None or live.parted is None) else 1)


def _write(file: Path, text: str) -> None:
    """Whole or not at all. Raises: ClickException."""
    half = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(file)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from None
