"""The command `deuteron`: its subcommands, and the one place where failures become messages.

A user never sees a traceback. What nobody foresaw goes whole to `log/deuteron.log` of the state folder.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import os
import sys
import time
import tomllib
import traceback
from pathlib import Path

import click

from deuteron.cli.capture import capture
from deuteron.cli.demo import demo
from deuteron.cli.diff import diff
from deuteron.cli.doctor import doctor
from deuteron.cli.down import down
from deuteron.cli.dump import dump
from deuteron.cli.enter import exec_command, shell
from deuteron.cli.host import host
from deuteron.cli.learn import learn
from deuteron.cli.link import link
from deuteron.cli.options import Refused, client_environment, existing_cloud, refused, state_option
from deuteron.cli.show import env, logs, status
from deuteron.cli.snapshots import fork, rollback, snapshot, snapshots
from deuteron.cli.top import top
from deuteron.cli.trace import trace
from deuteron.cli.up import up
from deuteron.sandbox import control
from deuteron.sandbox.cloud import State, default_state_dir, lower
from deuteron.sandbox.custody import own_way
from deuteron.sandbox.errors import SandboxError


def _print_version(context: click.Context, _parameter: click.Parameter, is_asked: bool) -> None:
    if is_asked and not context.resilient_parsing:
        click.echo(f"deuteron {_version()}")
        context.exit()


def _version() -> str:
    """The version of the installed package, or of the clone this runs from."""
    try:
        return importlib.metadata.version("deuteron")
    except importlib.metadata.PackageNotFoundError:
        project = Path(__file__).resolve().parents[3] / "pyproject.toml"
        return str(tomllib.loads(project.read_text())["project"]["version"])


class _InOrder(click.Group):
    """Lists commands in the order in which a person needs them."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(self.commands)


_EPILOG = """Begin with deuteron demo, which shows the whole cloud at work, or with deuteron up, which makes one to use.
In a clone, ./deuteron test runs the tests, with --all the long ones too. More is in docs/operations.md."""


@click.group(cls=_InOrder, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version."
)
@click.option("--yes", is_flag=True, expose_value=False, help="Install missing system packages without asking.")
def deuteron() -> None:
    """The smallest whole OpenStack: real networks, real virtual machines, one command, no root."""


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
)
@state_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def openstack(state: State, arguments: tuple[str, ...]) -> None:
    """Run the bundled OpenStack client.

    It is user `demo`; with --os-cloud admin it is `admin`.
    """
    environment = client_environment(state, "demo")
    if arguments[:1] in (("help",), ("complete",)) or {"--help", "-h", "--version"} & set(arguments):
        # These need no cloud, and may be asked for before there is one.
        del environment["OS_CLOUD"]
    else:
        existing_cloud(state)
        if control.ask(state, control.Ask(do="status")) is None:
            raise Refused("the cloud is not running", "deuteron up")
    program = Path(sys.executable).parent / "openstack"
    if not program.exists():
        raise Refused(f"the OpenStack client is not at {program}", "run ./deuteron in the clone, which installs it")
    sys.stdout.flush()
    os.execve(program, [str(program), *arguments], environment)


for command in (
    demo,
    up,
    status,
    host,
    link,
    env,
    openstack,
    exec_command,
    shell,
    logs,
    top,
    diff,
    trace,
    capture,
    dump,
    snapshot,
    snapshots,
    rollback,
    fork,
    doctor,
    learn,
    down,
):
    deuteron.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; ends the process with 0 done, 1 refused or failed, 2 wrong usage."""
    program = os.environ.get("DEUTERON_PROGRAM", "deuteron")
    try:
        deuteron.main(args=arguments, prog_name=program, standalone_mode=False)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SandboxError as error:
        refused(error).show()
        sys.exit(1)
    except BrokenPipeError:
        # The reader went away (`deuteron logs | head`); that is no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except OSError as error:
        _keep_traceback()
        path = error.filename if isinstance(error.filename, str) else None
        what = f'cannot use "{path}": {lower(error)}' if path else f"failed: {lower(error)}"
        refused(SandboxError(what, _HINTS.get(error.errno or 0, f"the whole story is in {_log_path()}"))).show()
        sys.exit(1)
    except Exception as error:
        _keep_traceback()
        words = f"failed unexpectedly: {type(error).__name__}: {error}"
        refused(SandboxError(words, f"the whole story is in {_log_path()}; it is worth an issue")).show()
        sys.exit(1)


_HINTS = {
    errno.ENOSPC: "make room on that disk, or choose another with --state-dir",
    errno.EDQUOT: "make room on that disk, or choose another with --state-dir",
    errno.EROFS: "choose a folder that can be written: --state-dir, or DEUTERON_STATE_DIR",
    errno.EACCES: "is it another user's? choose a folder of your own: --state-dir, or DEUTERON_STATE_DIR",
    errno.EPERM: "is it another user's? choose a folder of your own: --state-dir, or DEUTERON_STATE_DIR",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
}


def _log_path() -> Path:
    with contextlib.suppress(SandboxError, OSError):
        folder = own_way(default_state_dir() / "log", "", "")
        if folder.is_dir():
            return folder / "deuteron.log"
    return Path(f"/tmp/deuteron-{os.getuid()}.log")


def _keep_traceback() -> None:
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with os.fdopen(os.open(_log_path(), flags, 0o600), "a") as log:
            if os.fstat(log.fileno()).st_uid != os.getuid():
                return
            log.write(time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()))
            traceback.print_exc(file=log)
    except OSError:
        pass


if __name__ == "__main__":
    main()
