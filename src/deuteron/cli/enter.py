"""`deuteron exec` and `deuteron shell`: be on a host of the sandbox."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click

from deuteron.cli.options import Refused, existing_cloud, state_option
from deuteron.cli.topologies import stored_topology
from deuteron.sandbox import control, processes
from deuteron.sandbox import namespaces as ns
from deuteron.sandbox.cloud import State

_FLAGS = {
    "user": ns.CLONE_NEWUSER,
    "pid": ns.CLONE_NEWPID,
    "ipc": ns.CLONE_NEWIPC,
    "net": ns.CLONE_NEWNET,
    "uts": ns.CLONE_NEWUTS,
    "mnt": ns.CLONE_NEWNS,
}
_COMMANDS = Path(processes.__file__).with_name("commands")
"""Programs that are other on a host than what they are called after, so that what people know works there."""
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@click.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@state_option
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(state: State, host: str, command: tuple[str, ...]) -> None:
    """Run COMMAND on HOST, as root of the sandbox.

    Write `--` before the command: deuteron exec aio -- ovs-vsctl show. The exit status is the command's.
    """
    if command[0] == "--":
        command = command[1:]
    if not command:
        raise click.UsageError("missing the command to run", click.get_current_context())
    sys.exit(run_on_host(state, host, command))


@click.command()
@state_option
@click.argument("host", required=False)
def shell(state: State, host: str | None) -> None:
    """Open a shell on HOST, as root of the sandbox.

    By default HOST is the first one of the topology. There `ip netns`, `ovs-vsctl show`, `iptables-save`, `tcpdump`
    and `virsh list` show this host and nothing else.
    """
    existing_cloud(state)
    if host is None:
        host = stored_topology(state).hosts[0].name
    shell_program = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
    sys.exit(run_on_host(state, host, (shell_program, "--norc", "-i") if "bash" in shell_program else (shell_program,)))


def run_on_host(state: State, host: str, command: tuple[str, ...]) -> int:
    """Run `command` on `host` with our standard streams; returns its exit status, 128 + n for signal n.

    Raises: SandboxError; Refused if the cloud is not running.
    """
    existing_cloud(state)
    files = control.ask_files(state, host)
    if files is None:
        raise Refused("the cloud is not running", "deuteron up")
    join(dict(files))
    environment = _environment(state, host)
    folder = os.getcwd()
    child = os.fork()
    if child == 0:
        try:
            os.execvpe(command[0], command, environment)
        except FileNotFoundError:
            click.echo(f'there is no program "{command[0]}" on host "{host}"', err=True)
            os._exit(127)
        except OSError as error:
            click.echo(f'cannot run "{command[0]}" on host "{host}": {error.strerror} (in {folder})', err=True)
            os._exit(126)
    # A Ctrl-C reaches the child from the terminal; other signals come to us alone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in _FORWARDED:
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def join(files: dict[str, int]) -> None:
    """Enter the namespaces, in an order in which each still gives the right to enter the next."""
    folder = os.getcwd()
    for kind in ("user", "pid", "ipc", "net", "uts", "mnt"):
        if kind == "user" and os.fstat(files[kind]).st_ino == os.stat("/proc/self/ns/user").st_ino:
            continue  # the kernel refuses to enter the own user namespace again
        ns.setns(files[kind], _FLAGS[kind])
        if kind == "user" and os.getuid() != 0:
            os.setgroups([])
            ns.become_root_inside()
    for fd in files.values():
        os.close(fd)
    try:
        os.chdir(folder)
    except OSError:
        os.chdir("/")


def _environment(state: State, host: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("TERM", "LANG", "LC_ALL", "COLUMNS", "LINES") if name in os.environ}
    return {
        **kept,
        "PATH": f"{_COMMANDS}:{processes.SYSTEM_PATH}",
        "HOME": str(state.host(host)),
        "USER": "root",
        "LOGNAME": "root",
        "DEUTERON_HOST": host,
        "LIBVIRT_DEFAULT_URI": "qemu:///system",
        "PS1": f"[root@{host}]# ",
    }
