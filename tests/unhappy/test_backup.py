"""The recipes of docs/operations.md for backup and restore, as they are written there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.unhappy.conftest import Machine

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def recipe(title: str) -> str:
    """The commands under the heading `title` of docs/operations.md."""
    section = OPERATIONS.split(f"### {title}\n")[1].split("\n#")[0]
    return "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))


def follow(machine: Machine, text: str) -> None:
    script = f"set -e\ncd {machine.folder}\nSTATE={machine.state}\nBACKUP={machine.folder}/backup\n{text}"
    done = subprocess.run(["bash", "-c", script], env=machine.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def networks(machine: Machine) -> list[str]:
    return machine.run("openstack", "--os-cloud", "demo", "network", "list", "-f", "value", "-c", "Name").out.split()


def test_a_backup_of_a_running_cloud_brings_it_back_as_it_was_then(machine: Machine) -> None:
    assert machine.run("up", "--dataplane", "none", "--no-guest").status == 0
    assert machine.run("openstack", "network", "create", "kept").status == 0
    (machine.folder / "backup").mkdir()
    follow(machine, recipe("Of a running cloud"))
    assert machine.run("openstack", "network", "create", "too-late").status == 0
    password = re.findall("password: .*", (machine.state / "clouds.yaml").read_text())
    assert machine.run("down", "--delete").status == 0

    follow(machine, recipe("Restore"))
    assert machine.run("up", "--no-guest").status == 0
    assert sorted(networks(machine)) == ["kept", "public"]
    assert re.findall("password: .*", (machine.state / "clouds.yaml").read_text()) == password


def test_a_backup_of_a_stopped_cloud_is_its_folder(machine: Machine) -> None:
    assert machine.run("up", "--dataplane", "none", "--no-guest").status == 0
    assert machine.run("openstack", "network", "create", "kept").status == 0
    (machine.folder / "backup").mkdir()
    machine.run("down")
    follow(machine, recipe("Of a stopped cloud"))
    assert machine.run("down", "--delete").status == 0

    follow(machine, recipe("Restore"))
    assert machine.run("up", "--no-guest").status == 0
    assert sorted(networks(machine)) == ["kept", "public"]
