"""What tests need of the machine, in one place. Nobody else skips (`test_tests.py` looks).

A test that lacks a program or a right is skipped on somebody's laptop. In CI (`CI` is set), and with `--all`, it fails:
there a suite that silently does nothing would be taken for one that passed. What is left out by design of a run is
listed here by name, with why and with the run that does it; `conftest.py` looks at every report.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

IS_ROOT = os.geteuid() == 0
HAS_KVM = os.access("/dev/kvm", os.R_OK | os.W_OK)

ROOT_ONLY = {
    "hostile/test_folders.py::test_no_command_goes_where_a_stranger_leads": "puts files there as somebody else",
    "hostile/test_folders.py::test_nothing_of_a_stranger_is_taken_for_the_clouds": "puts files there as somebody else",
    "hostile/test_folders.py::test_a_stranger_on_the_control_socket_is_not_believed": "listens as somebody else",
    "hostile/test_folders.py::test_a_cache_of_somebody_else_is_not_taken": "puts a link there as somebody else",
    "hostile/test_privileges.py::test_the_api_sees_only_its_own_folder": (
        "started by an ordinary user the API is that user, see docs/security.md"
    ),
    "hostile/test_privileges.py::test_only_the_api_and_root_reach_the_socket": "becomes nobody",
    "hostile/test_privileges.py::test_the_hosts_of_root_are_nobody_on_the_machine": (
        "started by an ordinary user the hosts have that user's identities"
    ),
    "hostile/test_privileges.py::test_root_of_a_host_opens_nothing_of_the_machines_root": (
        "started by an ordinary user there is nothing of root's in reach"
    ),
    "unit/sandbox/test_cloud.py::test_the_api_owns_its_folder_when_the_cloud_runs_as_root": "gives files away",
    "unit/sandbox/test_identities.py::*": "only root has identities to give",
}
"""Tests (`*` for all of a file) that only root can run, and why. The run as root in .ci/run does them."""

KVM_ONLY = {
    "unhappy/test_machines.py::test_a_kvm_that_hangs_is_found_out": "without KVM there is none that could hang",
}
"""Tests that a machine without KVM has no use for."""

_BY_DESIGN = "by design: "


def by_design(name: str) -> str | None:
    """Why a test (`folder/file.py::test`) is left out of this run; None if it is not."""
    place = name.split("[")[0]
    whole_file = place.split("::")[0] + "::*"
    if not IS_ROOT and (place in ROOT_ONLY or whole_file in ROOT_ONLY):
        return f"{_BY_DESIGN}root's: {ROOT_ONLY.get(place) or ROOT_ONLY[whole_file]}"
    if not HAS_KVM and place in KVM_ONLY:
        return f"{_BY_DESIGN}{KVM_ONLY[place]}"
    return None


def is_by_design(reason: str) -> bool:
    return reason.removeprefix("Skipped: ").startswith(_BY_DESIGN)


def program(*names: str) -> None:
    """Skip the rest where one of these programs is missing."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        lacking(f"not installed: {', '.join(missing)}")


def needs_program(*names: str) -> pytest.MarkDecorator:
    """The same for a whole test."""
    missing = [name for name in names if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def needs_iscsi() -> pytest.MarkDecorator:
    """A whole test whose QEMU is to reach disks by iSCSI."""
    why = "not installed: qemu-img"
    if shutil.which("qemu-img"):
        asked = ["qemu-img", "info", "--image-opts", "driver=iscsi"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60).stderr
        why = "not installed: qemu-block-extra" if "nknown" in told else ""
    return pytest.mark.skipif(bool(why), reason=why or "is installed")


def needs_ceph() -> pytest.MarkDecorator:
    """A whole test with a Ceph cluster of its own, which QEMU is to reach."""
    programs = ("ceph-mon", "ceph-osd", "ceph-mgr", "ceph", "rbd", "monmaptool", "qemu-img", "qemu-io", "qemu-nbd")
    missing = [name for name in programs if shutil.which(name) is None]
    if not missing:
        asked = ["qemu-img", "info", "--image-opts", "driver=rbd"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60).stderr
        missing = ["qemu-block-extra"] if "nknown" in told else []
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def lacking(what: str) -> None:
    """Skip the rest, for a reason that the machine gives."""
    pytest.skip(what)
