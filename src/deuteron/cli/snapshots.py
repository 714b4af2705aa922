"""`deuteron snapshot`, `snapshots`, `rollback` and `fork`: a whole cloud, kept and brought back.

A running cloud stands still while it is copied: the API and the agents end, the memory of every guest is saved, the
rest ends, and afterwards all of it starts again and the guests go on where they were. They go on from there, too,
whenever the snapshot is used.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import msgspec

from deuteron.cli.options import Refused, existing_cloud, state_option, tell_waiting
from deuteron.cli.progress import Progress
from deuteron.cli.topologies import stored_topology
from deuteron.cli.up import up
from deuteron.sandbox import control, identities
from deuteron.sandbox import snapshots as kept
from deuteron.sandbox.claims import claim_port, free_uid
from deuteron.sandbox.cloud import Cloud, State, locked, open_state
from deuteron.sandbox.errors import SupervisorError

_HOLD_TIMEOUT_S = 20.0
_SAVE_TIMEOUT_S = 300.0
_GUESTS_TIMEOUT_S = 120
_POLL_S = 0.05

# Side by side; what cannot be saved is named, with libvirt's reason.
_SAVE = """
for state in running paused; do
    for name in $(virsh --quiet list --name --state-$state); do
        (if said=$(virsh -q managedsave "$name" 2>&1); then echo "$state $name"; else echo "lost $name" $said; fi) &
    done
done
wait
"""
# One shell on a host asks again and again, with the seconds and the guests as its arguments: to enter the host for each
# question would take more of the processor than the guests that are waited for. It says who does not run in the end.
_AWAIT = """
end=$(($(date +%s) + $1)); shift
while true; do
    running=" $(virsh --quiet list --name --state-running 2>/dev/null | tr '\\n' ' ')"
    missing=
    for guest; do
        case $running in *" $guest "*) ;; *) missing="$missing $guest" ;; esac
    done
    if [ -z "$missing" ] || [ $(date +%s) -ge $end ]; then break; fi
    sleep 0.2
done
echo $missing
"""


@click.command()
@state_option
@click.argument("name")
def snapshot(state: State, name: str) -> None:
    """Keep the whole cloud as it is now, as NAME.

    What it has goes along: networks, images, volumes, disks, and running guests with their memory. A cloud that runs
    stands still meanwhile, for seconds, and goes on.
    """
    progress = Progress()
    cloud = _cloud_in_its_folder(state)
    with locked(state, tell_waiting):
        _refuse_unfinished(state)
        kept.refuse_taken(state, name)
        runs = _is_running(state)
    with _going_on(state, cloud, runs, progress) as guests, locked(state, tell_waiting):
        begun = time.monotonic()
        saved = _stand_still(state, cloud, progress) if runs else {}
        guests.update(saved)
        with progress.step("copy") as busy:
            made = kept.keep(state, name, saved, lambda: time.monotonic() - begun)
            busy(_size(made.size_bytes))
    count = sum(map(len, made.guests.values()))
    click.echo(f'snapshot "{name}": {_size(made.size_bytes)}, {count} running guests, after {progress.elapsed_s:.1f} s')


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@click.option("--delete", "gone", multiple=True, metavar="NAME", help="Remove this one; may be repeated.")
def snapshots(state: State, as_json: bool, gone: tuple[str, ...]) -> None:
    """List the snapshots of the cloud, oldest first."""
    existing_cloud(state)
    if gone:
        with locked(state, tell_waiting):
            for name in gone:
                kept.remove(state, name)
    found = kept.snapshots(state)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    for each in found:
        count = sum(map(len, each.guests.values()))
        click.echo(f"{each.name:24} {each.created_at}  {_size(each.size_bytes):>9}  {count} running guests")
    if not found:
        click.echo("there are no snapshots", err=True)


@click.command()
@state_option
@click.argument("name")
def rollback(state: State, name: str) -> None:
    """Bring the cloud back as it was when snapshot NAME was taken.

    What happened since is gone. The snapshot stays, and the cloud runs afterwards.
    """
    progress = Progress()
    cloud = _cloud_in_its_folder(state)
    with locked(state, tell_waiting):
        wanted = kept.snapshot(state, name)
        _refuse_unfinished(state)
        with progress.step("copy") as busy:
            kept.prepare(state, name)
            busy(_size(wanted.size_bytes))
        with progress.step("processes") as busy:
            busy("ended" if control.stop(state) else "none were running")
        with progress.step("state folder"):
            kept.finish(state)
    _start(state)
    _wait_for_guests(state, cloud, wanted.guests, progress)
    click.echo(f'the cloud is as in snapshot "{name}" after {progress.elapsed_s:.1f} s')


@click.command()
@state_option
@click.argument("name")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", "called", help="What the second cloud is called.  [default: DIR's name]")
def fork(state: State, name: str, folder: Path, called: str | None) -> None:
    """Start a second cloud in DIR, which is as this one was when snapshot NAME was taken.

    It runs beside the first, on a port of its own, with the same users, passwords and tokens. Where the first has a
    port for viewers of VNC, it takes another, which it says. Afterwards the two have nothing to do with each other.
    """
    progress = Progress()
    cloud = _cloud_in_its_folder(state)
    other = open_state(folder)
    if other.folder.is_relative_to(state.folder) or state.folder.is_relative_to(other.folder):
        raise Refused(f"cannot make a second cloud in {other.folder}: it lies in the first, or around it")
    with locked(state, tell_waiting), locked(other, tell_waiting), contextlib.ExitStack() as claims:
        wanted = kept.snapshot(state, name)
        strangers = sorted(entry.name for entry in other.folder.iterdir() if entry != other.lock)
        if strangers:
            raise Refused(f"cannot make a second cloud in {other.folder}: it is not empty", f"there is {strangers[0]}")
        claim = claims.enter_context(claim_port())
        record = msgspec.json.decode((state.snapshots / name / "cloud.json").read_bytes(), type=Cloud)
        changed = msgspec.structs.replace(
            record,
            id=str(uuid.uuid4()),
            name=called or other.folder.name,
            port=claim.port,
            tokens={},
            api_uid=None if record.api_uid is None else free_uid(),
            host_ids=None if record.host_ids is None else identities.free_range(),
            origins=(*record.origins, str(state.folder)),
        )
        with progress.step("copy") as busy:
            viewers_port = kept.fork(state, name, other, changed)
            busy(_size(wanted.size_bytes))
    _start(other)
    _wait_for_guests(other, cloud, wanted.guests, progress)
    if viewers_port is not None:
        click.echo(f"viewers of VNC that are no browsers find its screens at port {viewers_port}", err=True)
    click.echo(f'cloud "{changed.name}" is as in snapshot "{name}" after {progress.elapsed_s:.1f} s: {other.folder}')


def _cloud_in_its_folder(state: State) -> Cloud:
    """Raises: StateError; Refused for one whose rows are elsewhere."""
    cloud = existing_cloud(state)
    if cloud.database:
        raise Refused(
            "cannot keep snapshots of a cloud in PostgreSQL: its rows are not in the state folder",
            "deuteron down, then copy the state folder, and the database with pg_dump",
        )
    return cloud


def _refuse_unfinished(state: State) -> None:
    if (state.folder / "rollback").exists():
        raise Refused("a rollback of this cloud was interrupted", "deuteron up finishes it")


def _is_running(state: State) -> bool:
    return control.ask(state, control.Ask(do="status")) is not None


@contextlib.contextmanager
def _going_on(state: State, cloud: Cloud, runs: bool, progress: Progress) -> Iterator[dict[str, tuple[str, ...]]]:
    """Afterwards, however it ends, a cloud that ran runs again, with the guests that were put into the dictionary."""
    guests: dict[str, tuple[str, ...]] = {}
    try:
        yield guests
    finally:
        if runs:
            _start(state)
            _wait_for_guests(state, cloud, guests, progress)


def _stand_still(state: State, cloud: Cloud, progress: Progress) -> dict[str, tuple[str, ...]]:
    """End the cloud, with the memory of its guests on the disk. Returns them by host. Raises: SupervisorError."""
    saved: dict[str, tuple[str, ...]] = {}
    with progress.step("API and agents"):
        control.ask(state, control.Ask(do="hold"))
        deadline = time.monotonic() + _HOLD_TIMEOUT_S
        while not _is_held(state):
            if time.monotonic() > deadline:
                raise SupervisorError(f"the agents have not ended after {_HOLD_TIMEOUT_S:.0f} s", "deuteron status")
            time.sleep(_POLL_S)
    if cloud.dataplane == "ovs":
        with progress.step("guests") as busy:
            for host, told in _on_all(state, _SAVE).items():
                lines = [(*line.split(maxsplit=2), "")[:3] for line in told.splitlines()]
                saved[host] = tuple(sorted(guest for became, guest, _ in lines if became == "running"))
                for became, guest, why in lines:
                    if became == "lost":
                        click.echo(f"guest {guest} of host {host} goes without its memory: {why}", err=True)
            busy(f"{sum(map(len, saved.values()))} saved")
    with progress.step("processes"):
        control.stop(state)
    return {host: guests for host, guests in saved.items() if guests}


def _is_held(state: State) -> bool:
    reply = control.ask(state, control.Ask(do="status"))
    if reply is None:
        raise SupervisorError("the cloud ended meanwhile", "deuteron up")
    ending = [child for child in reply.children if child.name == "api" or child.name.endswith("-agent")]
    return all(child.state == "held" for child in ending)


def _on_all(state: State, script: str) -> dict[str, str]:
    """What a script says on each host that has guests. Raises: SupervisorError."""
    stopped = existing_cloud(state).stopped
    hosts = [h.name for h in stored_topology(state).agents if "compute" in h.roles and h.name not in stopped]
    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip(hosts, pool.map(lambda host: _on(state, host, script), hosts), strict=True))


def _on(state: State, host: str, script: str, *words: str) -> str:
    command = [sys.executable, "-m", "deuteron.cli", "exec", "--state-dir", str(state.folder), host, "--", "sh", "-c"]
    done = subprocess.run(
        [*command, script, "sh", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SAVE_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode != 0:
        raise SupervisorError(f"cannot ask the guests of host {host}: {done.stderr.strip()}", "deuteron status")
    return done.stdout


def _start(state: State) -> None:
    click.get_current_context().invoke(up, state_dir=state.folder, no_guest=True)


def _wait_for_guests(state: State, cloud: Cloud, guests: dict[str, tuple[str, ...]], progress: Progress) -> None:
    """Until those guests run. Raises: Refused, naming those that do not."""
    if cloud.dataplane != "ovs" or not any(guests.values()):
        return
    wanted = {host: names for host, names in guests.items() if names}

    def missing_on(host: str) -> list[str]:
        said = _on(state, host, _AWAIT, str(_GUESTS_TIMEOUT_S), *wanted[host])
        return [f"{guest} ({host})" for guest in said.split()]

    with progress.step("guests") as busy, ThreadPoolExecutor(max_workers=8) as pool:
        missing = [guest for found in pool.map(missing_on, wanted) for guest in found]
        if missing:
            raise Refused(f"the cloud runs, and these guests do not: {', '.join(missing)}", "deuteron diff")
        busy(f"{sum(map(len, wanted.values()))} go on")


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count < 10 * 2**30 else f"{count / 2**30:.1f} GiB"
