"""`deuteron down`: end a cloud's processes; with --delete, forget the cloud."""

from __future__ import annotations

import contextlib
import os
import shutil

import click

from deuteron.cli.database import empty
from deuteron.cli.options import Refused, state_option, tell_waiting
from deuteron.cli.progress import Progress
from deuteron.sandbox import control
from deuteron.sandbox.cloud import Cloud, State, locked, read_cloud
from deuteron.sandbox.errors import StateError
from deuteron.sandbox.namespaces import run_in_user_namespace


@click.command()
@state_option
@click.option("--delete", is_flag=True, help="Also remove the state folder: the cloud is gone for good.")
@click.option("--keep-database", is_flag=True, help="With --delete: leave the rows in PostgreSQL where they are.")
def down(state: State, delete: bool, keep_database: bool) -> None:
    """End the cloud's processes. Its state stays, and `up` brings it back.

    Virtual machines are switched off. Nothing is left on this machine but the state folder, and with
    --delete not that either; of a cloud in PostgreSQL its tables are removed, and the empty database stays.
    """
    if not state.folder.exists():
        click.echo(f"there is no cloud in {state.folder}", err=True)
        return
    if delete:
        _refuse_foreign_folder(state)
    progress = Progress()
    with locked(state, tell_waiting):
        with progress.step("processes") as busy:
            busy("ended" if control.stop(state) else "none were running")
        if delete and not keep_database and (cloud := _in_postgresql(state)) is not None:
            with progress.step("database") as busy:
                busy(empty(cloud))
        if delete:
            with progress.step("state folder") as busy:
                _remove(state)
                busy(f"{state.folder} removed")


def _in_postgresql(state: State) -> Cloud | None:
    """The cloud, if its rows are not in its folder. One whose record cannot be read can be deleted all the same."""
    with contextlib.suppress(StateError):
        cloud = read_cloud(state)
        if cloud is not None and cloud.database:
            return cloud
    return None


def _refuse_foreign_folder(state: State) -> None:
    """Never remove a folder that no cloud made, whatever --state-dir says: it may have an `api` folder, too."""
    ours = {"cloud.json", "clouds.yaml", "topology.toml", "lock", "api", "hosts", "log", "run", "snapshots"}
    there = {entry.name for entry in state.folder.iterdir()} if state.folder.is_dir() else {state.folder.name}
    is_half_made = state.lock.name in there and not there - ours
    if there and state.record.name not in there and not is_half_made:
        raise Refused(f"cannot delete {state.folder}: it does not look like a cloud's folder", "remove it yourself")


def _remove(state: State) -> None:
    for entry in state.folder.iterdir():
        # The record last: while it is there, a removal that was interrupted can be asked for again.
        if entry != state.record:
            shutil.rmtree(entry, ignore_errors=True)
    shutil.rmtree(state.folder, ignore_errors=True)
    if _is_left(state) and os.getuid() != 0:
        # Files of subordinate ids: only root of a user namespace that has these ids may remove them.
        run_in_user_namespace(lambda: shutil.rmtree(state.folder, ignore_errors=True))
    if _is_left(state):
        rest = [os.path.join(base, name) for base, folders, files in os.walk(state.folder) for name in folders + files]
        raise Refused(
            f"cannot remove all of {state.folder}: {(rest or [str(state.folder)])[-1]} stays", "look at it as root"
        )


def _is_left(state: State) -> bool:
    """Whether anything is left; a file system mounted there cannot be removed, but be empty."""
    return state.folder.exists() and not (state.folder.is_mount() and not any(state.folder.iterdir()))
