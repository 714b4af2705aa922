"""Programs that are other on a host than what they are called after."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deuteron.sandbox import processes

COMMANDS = Path(processes.__file__).with_name("commands")
NETDEV = "datapath_type=netdev"


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ("show", "show"),
        ("add-br b", f"add-br b -- set Bridge b {NETDEV}"),
        ("--may-exist add-br b", f"--may-exist add-br b -- set Bridge b {NETDEV}"),
        (
            "add-br b -- set Bridge b fail_mode=secure",
            f"add-br b -- set Bridge b {NETDEV} -- set Bridge b fail_mode=secure",
        ),
        ("add-br b -- add-br c", f"add-br b -- set Bridge b {NETDEV} -- add-br c -- set Bridge c {NETDEV}"),
        ("add-br fake b 7", "add-br fake b 7"),
        ("-t 5 add-br b", f"-t 5 add-br b -- set Bridge b {NETDEV}"),
        ("add-port b p", "add-port b p"),
        ("del-br add-br", "del-br add-br"),
    ],
)
def test_a_bridge_of_a_person_is_in_user_space(tmp_path: Path, given: str, called: str) -> None:
    real = tmp_path / "ovs-vsctl"
    real.write_text('#!/bin/sh\necho "$@"\n')
    real.chmod(0o755)
    environment = {"PATH": f"{COMMANDS}:{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([COMMANDS / "ovs-vsctl", *given.split()], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == called
