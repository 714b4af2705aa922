"""`deuteron doctor`: what of this machine a cloud can use, and what to do about the rest."""

from __future__ import annotations

import sys

import click
import msgspec

from deuteron.cli.checks import all_checks
from deuteron.cli.options import state_option
from deuteron.sandbox.cloud import State


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(state: State, as_json: bool) -> None:
    """Look at what this machine has for a cloud, and lacks.

    Each kernel feature, program and limit is present, or missing with what to do about it. Changes nothing. Ends
    with status 1 when something is missing that `up` needs for real networks and machines; a limit that only makes
    the cloud slower or narrower does not count.
    """
    checks = list(all_checks(state.folder))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(checks), indent=2).decode())
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            word = "ok     " if check.present else ("MISSING" if check.required else "limit  ")
            click.echo(f"{word}  {check.name:<{width}}  {check.summary}")
            if not check.present and check.advice:
                click.echo(f"{'':<9}{'':<{width}}  -> {check.advice}")
    sys.exit(0 if all(check.present or not check.required for check in checks) else 1)
