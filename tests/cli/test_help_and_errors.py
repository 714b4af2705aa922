"""Every command explains itself, and every failure is two lines and a status, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from deuteron.cli.main import deuteron

COMMANDS = sorted(deuteron.commands)


def run(*arguments: str, state: Path | None = None, program: str = "deuteron") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEUTERON_PROGRAM": program}
    if state is not None:
        environment["DEUTERON_STATE_DIR"] = str(state)
    return subprocess.run(
        [sys.executable, "-m", "deuteron.cli", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )


def test_the_commands_are_those_of_the_manual() -> None:
    names = [
        "up",
        "down",
        "status",
        "top",
        "diff",
        "exec",
        "shell",
        "logs",
        "env",
        "doctor",
        "openstack",
        "demo",
        "trace",
        "capture",
        "dump",
        "host",
        "link",
        "snapshot",
        "snapshots",
        "rollback",
        "fork",
        "learn",
    ]
    assert sorted(names) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_does(name: str) -> None:
    command = deuteron.commands[name]
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    for each in (command, *inner):
        assert each.help
        assert each.help.splitlines()[0].endswith((".", ";", ","))
        for parameter in each.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, parameter.name


def test_the_version_is_that_of_the_project() -> None:
    project = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    version = run("--version").stdout.split()[1]
    assert f'version = "{version}"' in project


def test_help_is_data() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "Commands:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("exec", "aio", "--", "true"),
        ("shell",),
        ("logs",),
        ("env",),
        ("openstack", "server", "list"),
    ],
)
def test_without_a_cloud_a_command_says_how_to_make_one(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, state=tmp_path / "none")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"there is no cloud in {tmp_path}/none\nhint: deuteron up makes one\n"


def test_a_hint_can_be_typed_as_it_stands(tmp_path: Path) -> None:
    done = run("status", "--state-dir", str(tmp_path / "a b"), program="./deuteron")
    assert done.stderr.splitlines()[1] == f"hint: ./deuteron up --state-dir '{tmp_path}/a b' makes one"


def test_the_help_of_the_openstack_client_needs_no_cloud(tmp_path: Path) -> None:
    done = run("openstack", "server", "create", "--help", state=tmp_path / "none")
    assert done.returncode == 0, done.stderr
    assert "usage: openstack server create" in done.stdout


def test_down_without_a_cloud_is_done_already(tmp_path: Path) -> None:
    for arguments in (("down",), ("down", "--delete")):
        done = run(*arguments, state=tmp_path / "none")
        assert done.returncode == 0
        assert "there is no cloud" in done.stderr


def test_down_does_not_delete_a_folder_that_is_not_a_clouds(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = run("down", "--delete", state=tmp_path)
    assert done.returncode == 1
    assert "does not look like a cloud's folder" in done.stderr
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    "arguments",
    [("up", "--dataplane", "soup"), ("nonsense",), ("up", "--nonsense"), ("exec", "aio"), ("logs", "a", "b")],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, state=tmp_path / "none")
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mechanism_that_is_not_installed_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "topology.toml"
    file.write_text('mechanism_drivers = ["openvswitch", "carrier-pigeon"]\n')
    done = run("up", "--dataplane", "none", "--topology", str(file), state=tmp_path / "s")
    assert done.returncode == 1
    refused, hint = done.stderr.splitlines()[-2:]
    assert refused == 'unknown mechanism "carrier-pigeon" in mechanism_drivers (known: linuxbridge, openvswitch)'
    assert hint.startswith("hint: install the package that offers it: ")
    assert not (tmp_path / "s" / "cloud.json").exists()


def test_a_back_end_that_its_driver_refuses_is_told_with_its_line_and_without_its_values(tmp_path: Path) -> None:
    file = tmp_path / "topology.toml"
    file.write_text('[volume.backends.fast]\ndriver = "file"\npassword = "s3cret"\n')
    done = run("up", "--dataplane", "none", "--topology", str(file), state=tmp_path / "s")
    assert done.returncode == 1 and "s3cret" not in done.stdout + done.stderr
    refused, hint = done.stderr.splitlines()[-2:]
    assert refused.startswith(f"cannot use [volume.backends.fast] of {file}: Object contains unknown field `password`")
    assert refused.endswith("(line 3: password = …)")
    assert hint.startswith("hint: driver file has capacity_gib; every back end has driver, volume_backend_name, hosts,")
    assert not (tmp_path / "s" / "cloud.json").exists()


def test_a_topology_that_does_not_fit_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text('[groups]\ncooking = ["a"]\n')
    done = run("up", "--topology", str(file), state=tmp_path / "s")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f'unknown group "cooking" in {file} (line 2: cooking = ["a"])'
    assert done.stderr.splitlines()[1].startswith("hint: ")


def test_a_topology_that_is_not_there_is_refused_with_the_names_that_are(tmp_path: Path) -> None:
    done = run("up", "--topology", "seed-f", state=tmp_path / "s")
    assert done.returncode == 1 and not (tmp_path / "s").exists()
    refused, hint = done.stderr.splitlines()
    assert refused == 'cannot find topology "seed-f": no such file or directory'
    assert hint == "hint: it is one of all-in-one, seed-e, osad, routed, or a file"


def test_compute_hosts_are_counted_for_a_topology_that_takes_a_number(tmp_path: Path) -> None:
    for wrong in (
        ("--compute", "3"),
        ("--topology", "osad", "--compute", "3"),
        ("--topology", "seed-e", "--compute", "0"),
    ):
        done = run("up", *wrong, state=tmp_path / "s")
        assert done.returncode == 1 and not (tmp_path / "s").exists()
        assert [line[:5] for line in done.stderr.splitlines()] == ["canno", "hint:"]


def test_an_appliance_is_not_simulated_where_hosts_are(tmp_path: Path) -> None:
    done = run("up", "--with", "zfssa", "--dataplane", "none", "--no-guest", state=tmp_path / "s")
    assert done.returncode == 1 and not (tmp_path / "s").exists()
    assert "cannot simulate an appliance where hosts are simulated" in done.stderr
    assert "hint: leave out --with or --dataplane none" in done.stderr


def test_a_damaged_record_is_told_in_two_lines(tmp_path: Path) -> None:
    (tmp_path / "cloud.json").write_text("{")
    done = run("status", state=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert "hint: " in done.stderr


def test_doctor_prints_its_findings_as_json(tmp_path: Path) -> None:
    import json

    done = run("doctor", "--json", state=tmp_path)
    findings = json.loads(done.stdout)
    assert {"namespaces", "tun", "ovs-vswitchd", "kvm", "br_netfilter", "memory", "disk", "port"} <= {
        finding["name"] for finding in findings
    }
    assert all(finding["summary"] for finding in findings)
