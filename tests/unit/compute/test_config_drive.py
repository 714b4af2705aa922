"""The config drive as a file: what is in the image, and what never becomes a path."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deuteron.compute import config_drive
from deuteron.compute.tools import DiskFailure
from tests import needs

FILES = {"openstack/latest/meta_data.json": b"{}", "openstack/content/0000": bytes(range(256))}

needs_tool = needs.needs_program(config_drive.TOOL)


@needs_tool
def test_the_image_carries_the_label_that_guests_look_for_and_whole_names(tmp_path: Path) -> None:
    target = tmp_path / "disk.config"

    config_drive.write_image(FILES, target)

    image = target.read_bytes()
    # ECMA-119 section 8.4: the primary volume descriptor is in sector 16, its volume identifier 40 bytes in.
    descriptor = image[16 * 2048 : 17 * 2048]
    assert (descriptor[1:6], descriptor[40:72].rstrip()) == (b"CD001", config_drive.LABEL.encode())
    for path, content in FILES.items():
        shown = subprocess.run(["isoinfo", "-R", "-i", target, "-x", f"/{path}"], capture_output=True, check=True)
        assert shown.stdout == content, path
    assert list(tmp_path.iterdir()) == [target], "nothing else is left"


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "openstack/../../outside"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(DiskFailure, match="its path leads out of it"):
        config_drive.write_image({path: b"x"}, tmp_path / "disk.config")

    assert list(tmp_path.iterdir()) == []
