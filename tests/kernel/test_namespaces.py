"""Namespaces beside those that people make with `ip netns`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deuteron.net.delta import Delta
from deuteron.net.kernel.namespaces import NamespaceDriver, Namespaces
from deuteron.net.plan import names

NAME = "qrouter-x"


def test_a_mount_below_the_one_that_is_seen_does_not_keep_namespaces_from_being_removed(
    host: Path, tmp_path: Path
) -> None:
    """A machine on which `ip netns add` was used once has such a mount below each host's own /run."""
    folder = tmp_path / "run" / "netns"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", folder.parent], check=True)
    namespaces = Namespaces(str(folder))
    try:
        namespaces.create(NAME)
        # What `ip netns add` does: where the first fails, the folder is bound on itself with all that is in it.
        if subprocess.run(["mount", "--make-rshared", folder], capture_output=True).returncode != 0:
            subprocess.run(["mount", "--rbind", folder, folder], check=True)
        namespaces.delete(NAME)
        assert namespaces.named() == {}
    finally:
        namespaces.close()


@pytest.mark.parametrize("name", [names.router_namespace("x"), names.snat_namespace("x"), names.dhcp_namespace("x")])
def test_one_that_an_agent_left_behind_is_found_by_the_next_and_removed(host: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "netns"
    folder.mkdir()
    namespaces = Namespaces(str(folder))
    try:
        namespaces.create(name)
        driver = NamespaceDriver(namespaces)
        left = driver.observe({})
        assert list(left) == [name]
        assert not driver.apply(Delta({}, dict(left))).failed
        assert driver.observe({}) == {}
    finally:
        namespaces.close()
