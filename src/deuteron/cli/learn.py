"""`deuteron learn`: the pages of `docs/learn`, made from clouds of its own that it runs the chapters on.

What people write is in `deuteron/learn/chapters`; see `deuteron.learn.source`.
"""

from __future__ import annotations

import importlib.resources
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from deuteron.cli.client import NotAnswering, Refusal
from deuteron.cli.learning import Runner
from deuteron.cli.options import Refused
from deuteron.cli.script import Failed
from deuteron.learn.index import index
from deuteron.learn.source import Chapter, SourceError, parse
from deuteron.sandbox.cloud import default_state_dir, open_state, write_private

VLAN_TOPOLOGY = """\
[groups]
control = ["control"]
network = ["control"]
compute = ["compute"]

[physical_networks]
vlan_interface = "default"

[external]
cidr = "180.180.180.0/24"
gateway = "180.180.180.1"
pool = ["180.180.180.2", "180.180.180.100"]
create_network = false
"""
CLOUDS = ("vlan", "seed-e")


def chapters() -> list[Chapter]:
    """All of them, in their order. Raises: SourceError."""
    folder = importlib.resources.files("deuteron.learn") / "chapters"
    sources = sorted((each.name, each.read_text()) for each in folder.iterdir() if each.name.endswith(".md"))
    return [parse(name.removesuffix(".md"), text) for name, text in sources]


@click.command()
@click.option("--cloud", "clouds", type=click.Choice(CLOUDS), multiple=True,
              help="Make the chapters of this cloud only; may be given again.  [default: all]")  # fmt: skip
@click.option("--state-dir", type=click.Path(path_type=Path), default=None,
              help="Where the clouds live  [default: 'deuteron-learn' beside the state folder].")  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the last cloud running, to look around.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def learn(clouds: tuple[str, ...], state_dir: Path | None, keep: bool, folder: Path) -> None:
    """Make the tutorial anew, in FOLDER.

    Starts a cloud, runs the commands of each chapter there, and writes what they print and the pictures, with stable
    names for what differs from cloud to cloud: the same text each time. Then the same with the next cloud.
    """
    try:
        made = chapters()
    except SourceError as error:
        raise Refused(str(error)) from None
    folder.mkdir(parents=True, exist_ok=True)
    for cloud in clouds or CLOUDS:
        of_it = [chapter for chapter in made if chapter.cloud == cloud]
        if of_it:
            _cloud(
                cloud, of_it, (state_dir or default_state_dir().with_name("deuteron-learn")).absolute(), folder, keep
            )
    (folder / "README.md").write_text(index(made))


def _cloud(cloud: str, chapters: Sequence[Chapter], place: Path, folder: Path, keep: bool) -> None:
    program = [sys.executable, "-m", "deuteron.cli.main"]
    environment = {**os.environ, "DEUTERON_STATE_DIR": str(place)}
    place.parent.mkdir(parents=True, exist_ok=True)
    state = open_state(place)
    if (state.folder / "cloud.json").exists():
        subprocess.run([*program, "down", "--delete"], env=environment, check=True)
    topology = place.with_name(f"{place.name}.toml")
    write_private(topology, VLAN_TOPOLOGY.encode())
    named = {"vlan": str(topology), "seed-e": "seed-e"}[cloud]
    try:
        up = [*program, "up", "--firewall", "iptables_hybrid", "--topology", named]
        if subprocess.run(up, env=environment, stdout=sys.stderr).returncode != 0:
            raise Refused("the cloud did not start")
        runner = Runner(state, program, environment)
        try:
            for chapter in chapters:
                began = time.monotonic()
                for name, text in runner.chapter(chapter).items():
                    (folder / name).write_text(text)
                click.echo(f"{time.monotonic() - began:6.1f} s  {chapter.name}", err=True)
        except Failed as failed:
            raise Refused(f"a chapter is not as it is written: {failed}") from None
        except (subprocess.SubprocessError, NotAnswering, Refusal) as error:
            raise Refused(f"the cloud does not answer: {error}", "deuteron logs") from None
        finally:
            runner.close()
    finally:
        topology.unlink(missing_ok=True)
        if not keep:
            subprocess.run([*program, "down", "--delete"], env=environment)
