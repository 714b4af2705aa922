"""The script `deuteron` of the clone: what it asks for, and when it makes an environment anew."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

CLONE = Path(__file__).resolve().parents[3]


@pytest.fixture
def bootstrap() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("deuteron_bootstrap", str(CLONE / "deuteron"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("arguments", "none"),
    [
        (["up"], False),
        (["up", "--dataplane", "none"], True),
        (["up", "--dataplane=none"], True),
        (["up", "--dataplane", "ovs", "--name", "none"], False),
    ],
)
def test_a_cloud_without_a_data_plane_needs_no_packages(
    bootstrap: ModuleType, arguments: list[str], none: bool
) -> None:
    assert bootstrap.has_no_dataplane(arguments) is none


@pytest.fixture
def clone(tmp_path: Path, bootstrap: ModuleType) -> Path:
    """A clone with a finished environment, as far as the stamp is concerned."""
    bootstrap.ROOT = str(tmp_path)
    (tmp_path / "requirements.lock").write_text("a==1\n")
    (tmp_path / "requirements-dev.lock").write_text("a==1\nb==2\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    stamp(tmp_path, bootstrap, dev=False)
    return tmp_path


def stamp(clone: Path, bootstrap: ModuleType, dev: bool) -> None:
    content = {
        "source": str(clone),
        "lock": bootstrap.digest(bootstrap.lock_name(dev)),
        "dev": dev,
        "interpreter": os.path.realpath(sys.executable),
    }
    (clone / ".venv" / "deuteron.json").write_text(json.dumps(content))


def test_an_environment_that_fits_is_kept(bootstrap: ModuleType, clone: Path) -> None:
    assert bootstrap.is_current(str(clone / ".venv"), False)


def test_an_unfinished_environment_is_made_anew(bootstrap: ModuleType, clone: Path) -> None:
    (clone / ".venv" / "deuteron.json").unlink()
    assert not bootstrap.is_current(str(clone / ".venv"), False)


def test_a_changed_lock_file_makes_it_anew(bootstrap: ModuleType, clone: Path) -> None:
    (clone / "requirements.lock").write_text("a==2\n")
    assert not bootstrap.is_current(str(clone / ".venv"), False)


def test_a_clone_that_moved_makes_it_anew(bootstrap: ModuleType, clone: Path) -> None:
    bootstrap.ROOT = str(clone / "elsewhere")
    assert not bootstrap.is_current(str(clone / ".venv"), False)


def test_an_interpreter_that_is_gone_makes_it_anew(bootstrap: ModuleType, clone: Path) -> None:
    (clone / ".venv" / "bin" / "python").unlink()
    (clone / ".venv" / "bin" / "python").symlink_to("/no/such/python")
    assert not bootstrap.is_current(str(clone / ".venv"), False)


def test_the_environment_of_the_tests_serves_the_program_but_not_the_other_way(
    bootstrap: ModuleType, clone: Path
) -> None:
    assert not bootstrap.is_current(str(clone / ".venv"), True)
    stamp(clone, bootstrap, dev=True)
    assert bootstrap.is_current(str(clone / ".venv"), True)
    assert bootstrap.is_current(str(clone / ".venv"), False)


def test_an_old_interpreter_is_refused_clearly(bootstrap: ModuleType, tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho 3 9\n")
    old.chmod(0o755)
    before = os.environ.get("DEUTERON_PYTHON")
    os.environ["DEUTERON_PYTHON"] = str(old)
    try:
        with pytest.raises(bootstrap.Refused, match=r"Deuteron needs Python 3\.11 or newer"):
            bootstrap.choose_python()
    finally:
        del os.environ["DEUTERON_PYTHON"]
        if before is not None:
            os.environ["DEUTERON_PYTHON"] = before


def test_the_script_is_written_in_the_words_of_an_old_python() -> None:
    code = f"import ast; ast.parse(open({str(CLONE / 'deuteron')!r}).read(), feature_version=(3, 6))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-libvirt.lock"])
def test_lock_files_hold_hashes_and_no_place_of_their_making(name: str) -> None:
    text = (CLONE / name).read_text()
    assert not re.search(r"(?i)://|--(extra-)?index|--find-links|^\s*/|file:", text, re.MULTILINE)
    pins = re.findall(r"^[A-Za-z0-9_.-]+==", text, re.MULTILINE)
    assert pins
    assert text.count("--hash=sha256:") >= len(pins)


def test_a_disk_that_is_too_small_for_the_environment_is_told(bootstrap: ModuleType, tmp_path: Path) -> None:
    bootstrap.ROOT = str(tmp_path)
    bootstrap.ENVIRONMENT_MIB = 1 << 40
    with pytest.raises(bootstrap.Refused, match=r"in .*/\.venv: it takes \d+ MiB, and \d+ are free there"):
        bootstrap.place_for_environment()
