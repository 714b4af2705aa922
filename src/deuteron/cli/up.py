"""`deuteron up`: from whatever is there to a cloud that is ready to use.

Each step looks first and does only what is missing, so a second `up` changes nothing, and one after a
crash or a reboot continues with what the state folder holds.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import click
import msgspec

from deuteron.cli import checks
from deuteron.cli.client import Client, NotAnswering, Refusal
from deuteron.cli.database import has_rows, settle
from deuteron.cli.extras import has_extras, refuse_missing_clients, refuse_open_bridges, with_extras
from deuteron.cli.hostline import HostRefusal, listens, wiring_of
from deuteron.cli.options import Refused, as_typed, state_option, tell_waiting
from deuteron.cli.plugins import refuse_unknown_mechanisms, refuse_wrong_backends
from deuteron.cli.progress import Progress
from deuteron.cli.starter import own_cache_dir, upload_guest, write_clouds_yaml
from deuteron.cli.topologies import Given, chosen, refuse_abandoned, stored_topology
from deuteron.model.intent import LINUX_BRIDGE, FirewallDriver
from deuteron.sandbox import control
from deuteron.sandbox.claims import PortClaim, claim_port
from deuteron.sandbox.cloud import (
    Cloud,
    Dataplane,
    Failure,
    State,
    locked,
    new_cloud,
    read_cloud,
    refuse_strangers,
    with_identities,
    with_tokens,
    write_private,
    write_settings,
)
from deuteron.sandbox.custody import read_own
from deuteron.sandbox.errors import SandboxError, StateError, SupervisorError
from deuteron.sandbox.named_topologies import ALL_IN_ONE, NAMES
from deuteron.sandbox.snapshots import finish as finish_rollback
from deuteron.sandbox.topology import Topology
from deuteron.sandbox.topology_file import parse_topology

SANDBOX_TIMEOUT_S = 30.0
API_TIMEOUT_S = 60.0
AGENTS_TIMEOUT_S = 60.0
WIRING_TIMEOUT_S = 900.0
"""A host with 150 networks takes half a minute."""
NEW_CLOUD_MIB = 32
"""Databases and logs."""
GUEST_MIB = 256
"""The tiny guest as images and in a host's cache, and the room that the Image API always leaves on its disk."""
_PORT_TIMEOUT_S = 2.0
_POLL_S = 0.05


@click.command()
@state_option
@click.option(
    "--topology",
    "wanted",
    metavar="NAME|FILE",
    help=f"Hosts and their roles: {', '.join(NAMES)}, or a file in TOML.  [default: all-in-one]",
)
@click.option("--compute", type=int, metavar="N", help="With --topology seed-e: so many compute hosts.  [default: 2]")
@click.option(
    "--dataplane",
    type=click.Choice(["ovs", "none"]),
    help="Real networks and machines, or an API with simulated hosts.  [default: ovs where this machine allows it]",
)
@click.option(
    "--firewall",
    type=click.Choice(["openvswitch", "iptables_hybrid"]),
    help="How security groups are enforced.  [default: openvswitch]",
)
@click.option(
    "--database",
    metavar="URI",
    help="Keep the rows in PostgreSQL: postgresql://USER@HOST/NAME, its password in PGPASSWORD or ~/.pgpass."
    "  [default: a file in the state folder]",
)
@click.option(
    "--with",
    "extras",
    type=click.Choice(["zfssa"]),
    multiple=True,
    help="A new cloud keeps its volumes on a simulated ZFS Storage Appliance.",
)
@click.option("--name", help="What the cloud is called.  [default: the state folder's name]")
@click.option("--abandon", is_flag=True, help="Go on although --topology lacks hosts that the cloud has.")
@click.option("--no-guest", is_flag=True, help="Do not build and upload the tiny guest.")
def up(
    state: State,
    wanted: str | None,
    compute: int | None,
    dataplane: Dataplane | None,
    firewall: FirewallDriver | None,
    database: str | None,
    extras: tuple[str, ...],
    name: str | None,
    abandon: bool,
    no_guest: bool,
) -> None:
    """Start the cloud, and wait until it is ready to use.

    Makes the cloud when there is none. On a running cloud it changes nothing. After `down`, a crash or a
    reboot it brings the same cloud back with all that was in it. Options are remembered; --topology,
    --dataplane and --firewall may be changed while the cloud is down.
    """
    progress = Progress()
    given = chosen(wanted, compute)
    with locked(state, tell_waiting), contextlib.ExitStack() as claims:
        if finish_rollback(state):
            click.echo("a rollback was interrupted: it is finished", err=True)
        old = read_cloud(state)
        kept = settle(old, database)
        running = control.ask(state, control.Ask(do="status"))
        if running is None:
            refuse_strangers(state, old)
        if old is None:
            _refuse_small_disk(state, no_guest)
        with _undone_on_failure(state, old is None, running is None):
            if old is not None and running is not None:
                _refuse_changes(state, old, given, dataplane, firewall, name, extras)
                cloud, topology = old, stored_topology(state)
            else:
                if given is not None and old is not None and not abandon:
                    refuse_abandoned(state, given)
                claim = claims.enter_context(_port_for(old))
                wishes = (given, dataplane, firewall, kept, name, extras)
                cloud, topology = _start(state, old, claim, *wishes, progress)
            try:
                _wait_until_ready(state, cloud, without_stopped(topology, cloud), progress)
                write_clouds_yaml(state, cloud)
                if not no_guest:
                    upload_guest(Client(cloud.port, cloud.admin_password), cloud.dataplane, progress)
            except (NotAnswering, Refusal) as error:
                hint = "deuteron logs api"
                if isinstance(error, Refusal) and error.status in (413, 507):
                    hint = f"make room on the disk of {state.folder}, then deuteron up again"
                raise Refused(f"the cloud did not become ready: {error}", hint) from error
    verb = "is ready" if running is None else "was running already, and is ready"
    click.echo(f'cloud "{cloud.name}" {verb} after {progress.elapsed_s:.1f} s: http://127.0.0.1:{cloud.port}/identity')
    if cloud.dataplane == "none":
        click.echo("its API is whole, its hosts are simulated: servers become ACTIVE, and no packet flows", err=True)
    words = 'next: eval "$(deuteron env)"; openstack server list    or: deuteron openstack server list'
    click.echo(as_typed(words), err=True)
    click.echo(f"in a browser: http://127.0.0.1:{cloud.port}/dashboard", err=True)


@contextlib.contextmanager
def _undone_on_failure(state: State, is_new: bool, is_ours: bool) -> Iterator[None]:
    """When what is inside fails, end the processes that it started; a cloud it was making keeps its state and logs.

    A record without which nothing of the cloud exists yet (no database) is removed too, so that the next `up` begins
    anew. Whoever kills `up` with SIGKILL leaves the cloud starting, and the next `up` waits for it.
    """
    try:
        yield
    except BaseException:
        if is_ours:
            with contextlib.suppress(SandboxError):
                control.stop(state)
        if is_new and not has_rows(state) and not state.run.joinpath("supervisor.lock").exists():
            for path in (state.record, state.topology):
                path.unlink(missing_ok=True)
            for folder in (state.api, state.logs, state.run, state.folder / "hosts"):
                shutil.rmtree(folder, ignore_errors=True)
        raise


def _port_for(old: Cloud | None) -> PortClaim:
    """The port of a cloud that is about to start, kept from others that start now, and while the cloud runs.

    The processes of a supervisor that was just killed are given the time to end.

    Raises: Refused; StateError.
    """
    if old is None:
        return claim_port()
    deadline = time.monotonic() + _PORT_TIMEOUT_S
    while True:
        try:
            return claim_port(old.port, old.port)
        except StateError as error:
            if time.monotonic() > deadline:
                raise Refused(
                    f"cannot start the cloud: somebody else listens on its port {old.port}",
                    f"end that program; ss -ltnp 'sport = :{old.port}' shows it",
                ) from error
        time.sleep(_POLL_S)


def _start(
    state: State,
    old: Cloud | None,
    claim: PortClaim,
    given: Given | None,
    dataplane: Dataplane | None,
    firewall: FirewallDriver | None,
    database: tuple[str, str],
    name: str | None,
    extras: tuple[str, ...],
    progress: Progress,
) -> tuple[Cloud, Topology]:
    """Settle what the cloud is, write it down, and start its supervisor."""
    if given is None:
        kept_text = read_own(state.topology).decode() if state.topology.exists() else ALL_IN_ONE
        given = Given(kept_text, str(state.topology))
    topology = parse_topology(given.text, given.source)
    text = with_extras(given.text, topology, extras, old)
    topology = parse_topology(text, given.source)
    refuse_unknown_mechanisms(topology)
    refuse_wrong_backends(topology, text, given.source)
    with progress.step("machine") as busy:
        wanted = dataplane or (old.dataplane if old is not None else None)
        checks.load_modules()
        settled = _settle_dataplane(wanted, busy)
        kvm = settled == "ovs" and kvm_is_usable()
        if settled == "ovs":
            busy("KVM" if kvm else "software emulation")
        refuse_missing_clients(topology, extras, settled)
    if old is None:
        made = new_cloud(name or state.folder.name, settled, firewall or "openvswitch", claim.port)
        cloud = msgspec.structs.replace(made, database=database[0], database_password=database[1])
    else:
        cloud = with_identities(
            msgspec.structs.replace(old, name=name or old.name, dataplane=settled, firewall=firewall or old.firewall)
        )
    if settled == "ovs" and cloud.firewall == "iptables_hybrid":
        refuse_open_bridges("--firewall iptables_hybrid")
    if settled == "ovs" and any(LINUX_BRIDGE in host.mechanism_drivers for host in topology.agents):
        refuse_open_bridges(f"mechanism {LINUX_BRIDGE}")
    cloud = with_tokens(cloud, topology)
    virt_type: Literal["kvm", "qemu"] = "kvm" if kvm else "qemu"
    # The topology first: an `up` that is killed between the two is continued with the same hosts.
    write_private(state.topology, text.encode())
    write_settings(state, cloud, topology, virt_type)
    names = ", ".join(host.name for host in without_stopped(topology, cloud).hosts)
    with progress.step("sandbox" if settled == "ovs" else "simulated hosts") as busy:
        _start_supervisor(state, kvm, claim)
        busy(names)
    return cloud, topology


def _refuse_small_disk(state: State, no_guest: bool) -> None:
    """A new cloud on a disk that its first images fill is refused before there is anything of it."""
    needed = NEW_CLOUD_MIB + (0 if no_guest else GUEST_MIB)
    free = shutil.disk_usage(state.folder).free >> 20
    if free < needed:
        raise Refused(
            f"cannot make a cloud in {state.folder}: {free} MiB are free on its disk, and a new cloud takes {needed}",
            "make room, or choose another disk with --state-dir",
        )


def _settle_dataplane(wanted: Dataplane | None, busy: Callable[[str], None]) -> Dataplane:
    if wanted == "none":
        return "none"
    missing = checks.what_prevents_a_sandbox()
    if not missing:
        return "ovs"
    words = "; ".join(check.summary for check in missing)
    hint = as_typed(checks.advice_for(missing))
    if wanted == "ovs":
        raise Refused(f"this machine cannot run the data plane: {words}", hint)
    busy("no data plane")
    click.echo(
        f"this machine cannot run the data plane: {words}\nhint: {hint}\n"
        "the cloud starts with --dataplane none: its API is whole, its hosts are simulated, no packet flows",
        err=True,
    )
    return "none"


def _refuse_changes(
    state: State,
    cloud: Cloud,
    given: Given | None,
    dataplane: Dataplane | None,
    firewall: FirewallDriver | None,
    name: str | None,
    extras: tuple[str, ...],
) -> None:
    changed: list[str] = []
    if not has_extras(stored_topology(state), extras):
        changed.append("--with")
    if given is not None and given.text != state.topology.read_text():
        changed.append("--topology")
    for option, new, old in (
        ("--dataplane", dataplane, cloud.dataplane),
        ("--firewall", firewall, cloud.firewall),
        ("--name", name, cloud.name),
    ):
        if new is not None and new != old:
            changed.append(option)
    if changed:
        raise Refused(
            f'cannot change {" and ".join(changed)} of cloud "{cloud.name}" while it runs',
            "deuteron down, then up again",
        )


def _start_supervisor(state: State, kvm: bool, claim: PortClaim) -> None:
    """Start the supervisor as a process of its own, and wait until the hosts are there.

    It inherits the claim on the port, so that nobody takes the port while a killed API is away for a moment.
    """
    state.failure.unlink(missing_ok=True)
    arguments = [sys.executable, "-m", "deuteron.sandbox.supervisor", "--state-dir", str(state.folder)]
    arguments += ["--claim", str(claim.fileno())]
    if kvm:
        arguments.append("--kvm")
    source = Path(checks.__file__).resolve().parents[2]
    # The API may not write beside the source, so that without this each of its starts would compile it again.
    compileall.compile_dir(source / "deuteron", quiet=2)
    environment = {**os.environ, "PYTHONPATH": str(source)}
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(state.log("supervisor"), flags, 0o600), "ab") as log:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=environment,
            pass_fds=(claim.fileno(),),
        )
    deadline = time.monotonic() + SANDBOX_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _failure(state, process.returncode)
        reply = control.ask(state, control.Ask(do="status"))
        if reply is not None and reply.sandbox in ("ready", "none"):
            return
        if reply is not None and reply.sandbox == "failed":
            raise SupervisorError(f"the sandbox does not start: {reply.error}", "deuteron logs supervisor")
        time.sleep(0.02)
    raise SupervisorError(f"the sandbox is not ready after {SANDBOX_TIMEOUT_S:.0f} s", "deuteron logs supervisor")


def _failure(state: State, status: int) -> SandboxError:
    try:
        failure = msgspec.json.decode(read_own(state.failure), type=Failure)
    except (OSError, msgspec.MsgspecError):
        return SupervisorError(f"the supervisor ended with status {status}", f"see {state.log('supervisor')}")
    return SupervisorError(failure.message, failure.hint)


def _wait_until_ready(state: State, cloud: Cloud, topology: Topology, progress: Progress) -> None:
    client = Client(cloud.port, cloud.admin_password)
    with progress.step("API") as busy:

        def answers() -> bool:
            return (listens(state) and client.answers()) or _refuse_dead_api(state)

        _wait(state, answers, API_TIMEOUT_S, "the API does not answer", "api")
        client.log_in()
        busy(f"port {cloud.port}")
    with progress.step("agents") as busy:
        missing: list[str] = []

        def all_alive() -> bool:
            missing[:] = missing_agents(client, topology)
            busy(f"waiting for {', '.join(missing)}" if missing else ", ".join(host.name for host in topology.agents))
            return not missing

        try:
            _wait(state, all_alive, AGENTS_TIMEOUT_S, "agents are not alive", _log_of(topology))
        except SupervisorError as error:
            raise SupervisorError(f"{error.message}: {', '.join(missing)}", error.hint) from error

    with progress.step("wiring") as busy:
        asked: dict[str, int] = {}
        late: list[str] = []

        def all_wired() -> bool:
            late[:] = unwired_hosts(state, cloud, topology, asked)
            busy(", ".join(late) if late else ", ".join(host.name for host in topology.agents))
            return not late

        try:
            _wait(state, all_wired, WIRING_TIMEOUT_S, "hosts are not wired", _log_of(topology))
        except SupervisorError as error:
            raise SupervisorError(f"{error.message}: {', '.join(late)}", error.hint) from error


def unwired_hosts(state: State, cloud: Cloud, topology: Topology, asked: dict[str, int]) -> list[str]:
    """Hosts that have not carried out what they should have when they were first asked for, with how far they are.

    `asked` keeps the revision of each host from one call to the next: what changes later is another's to wait for.

    Raises: NotAnswering.
    """
    late = []
    for host in topology.agents:
        try:
            wiring = wiring_of(state, cloud, host.name, asked.get(host.name))
        except HostRefusal as error:
            late.append(f"{host.name} (wiring: {error})")
            continue
        asked[host.name] = wiring.revision
        if not wiring.is_realised:
            late.append(f"{host.name} (wiring: at {wiring.realised} of {wiring.revision})")
    return late


def _refuse_dead_api(state: State) -> Literal[False]:
    """Raises: SupervisorError when the API ends each time it is started."""
    reply = control.ask(state, control.Ask(do="status"))
    for child in reply.children if reply is not None else ():
        if child.name == "api" and child.restarts > 1:
            # What it ended with, in one line; see `deuteron.api.main`.
            words = _last_line(state, "api").removeprefix("; its log ends with: ").removeprefix("Error: ")
            raise SupervisorError(f"the API does not start: {words}", "deuteron logs api")
    return False


def without_stopped(topology: Topology, cloud: Cloud) -> Topology:
    """The topology without hosts that are switched off, which nobody waits for."""
    return msgspec.structs.replace(
        topology, hosts=tuple(host for host in topology.hosts if host.name not in cloud.stopped)
    )


def missing_agents(client: Client, topology: Topology) -> list[str]:
    """Hosts of `topology` whose network agent or compute service is not alive.

    Raises: NotAnswering; Refusal.
    """
    agents = client.get("/network/v2.0/agents")["agents"]
    alive = {agent["host"] for agent in agents if agent["alive"]}
    services = client.get("/compute/v2.1/os-services", "compute 2.11")["services"]
    # One that an administrator forced down is as it should be.
    computing = {service["host"] for service in services if service["state"] == "up" or service["forced_down"]}
    missing = [f"{host.name} (network)" for host in topology.agents if host.name not in alive]
    missing += [
        f"{host.name} (compute)" for host in topology.agents if "compute" in host.roles and host.name not in computing
    ]
    return missing


def _wait(state: State, is_there: Callable[[], bool], timeout_s: float, problem: str, log: str) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        if is_there():
            return
        if time.monotonic() > deadline:
            raise SupervisorError(f"{problem} after {timeout_s:.0f} s{_last_line(state, log)}", f"deuteron logs {log}")
        time.sleep(_POLL_S)


def _log_of(topology: Topology) -> str:
    """Of the first agent."""
    return f"{topology.agents[0].name}-agent" if topology.agents else "supervisor"


def _last_line(state: State, log: str) -> str:
    """The last line of a log, as the end of a message."""
    try:
        lines = state.log(log).read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f"; its log ends with: {lines[-1]}" if lines else ""


def kvm_is_usable() -> bool:
    """Whether guests really run on KVM here. The probe takes a second, so its answer is kept until the next boot."""
    from deuteron.compute.probe import probe_kvm

    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    note = own_cache_dir() / "kvm.json"
    try:
        known = msgspec.json.decode(read_own(note), type=dict[str, bool])
    except (OSError, msgspec.MsgspecError):
        known = {}
    if boot not in known:
        known = {boot: probe_kvm().usable}
        # Where there is nowhere to keep it, the next `up` probes again.
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            write_private(note, msgspec.json.encode(known))
    return known[boot]
