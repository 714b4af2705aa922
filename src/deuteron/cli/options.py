"""What all commands share: where the cloud is, and how a failure is told."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import click

from deuteron.sandbox.cloud import Cloud, State, default_state_dir, open_state, read_cloud
from deuteron.sandbox.errors import SandboxError, StateError

R = TypeVar("R")
_COMMANDS = r"up|down|status|host \w+|link \w+|env|exec|shell|logs|diff|trace|openstack|doctor"


class Refused(click.ClickException):
    """A failure a person can do something about: one line what, one line what next, exit status 1."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def show(self, file: Any = None) -> None:
        click.echo(self.message, file=file, err=file is None)
        if self.hint:
            click.echo(f"hint: {as_typed(self.hint)}", file=file, err=file is None)


_state_dir: ContextVar[Path | None] = ContextVar("state_dir", default=None)
"""What `--state-dir` said, for the commands that messages name."""


def as_typed(text: str) -> str:
    """`text` with each `deuteron COMMAND` in it as this user has to type it: the program's path, the state folder."""
    program = os.environ.get("DEUTERON_PROGRAM", "deuteron")
    folder = _state_dir.get()
    option = f" --state-dir {shlex.quote(str(folder))}" if folder is not None else ""

    def typed(found: re.Match[str]) -> str:
        return f"{program} {found[1]}{'' if found[1] == 'doctor' else option}"

    return re.sub(
        r"\bdeuteron (up|down|status|host|link|env|exec|shell|logs|diff|trace|capture|dump|snapshots|openstack"
        r"|doctor)\b",
        typed,
        text,
    )


def state_option(command: Callable[..., R]) -> Callable[..., R]:
    """Adds `--state-dir`; the command gets it as `state`, opened."""

    @click.option(
        "--state-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        metavar="DIR",
        help="The cloud's folder.  [default: $DEUTERON_STATE_DIR, else ~/.local/state/deuteron]",
    )
    @functools.wraps(command)
    def with_state(*args: Any, state_dir: Path | None, **kwargs: Any) -> R:
        _state_dir.set(state_dir)
        state = open_state(state_dir or default_state_dir())
        return command(*args, state=state, **kwargs)

    return with_state


def existing_cloud(state: State) -> Cloud:
    """The cloud in `state`.

    Raises: StateError if there is none.
    """
    cloud = read_cloud(state)
    if cloud is None:
        raise StateError(f"there is no cloud in {state.folder}", "deuteron up makes one")
    return cloud


def tell_waiting() -> None:
    click.echo("another up or down works on this cloud: waiting for it", err=True)


def refused(error: SandboxError) -> Refused:
    return Refused(error.message, error.hint)


def client_environment(state: State, cloud: str) -> dict[str, str]:
    """What OpenStack clients need to find `cloud` of this state folder, and nothing that would lead them elsewhere."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    environment["OS_CLIENT_CONFIG_FILE"] = str(state.clouds_yaml)
    environment["OS_CLOUD"] = cloud
    return environment
