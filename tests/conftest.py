"""For every test: where programs are, which tests are long, and which run in one process after each other.

`./deuteron test` runs several processes side by side. Tests that share a cloud stay together: those of a folder whose
cloud is shared by its files, else those of a file. Suites that take many minutes run with `--all`, or when named; so do
tests that are marked `long`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import needs, postgresql, stores
from tests.coverage import watch
from tests.coverage.page import claimed

_SYSTEM_PROGRAMS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PATH = os.environ.get("PATH", "/usr/bin:/bin")
# An ordinary user's path on Debian leaves out where the programs of the data plane are.
os.environ["PATH"] = os.pathsep.join(
    [_PATH, *(folder for folder in _SYSTEM_PROGRAMS if folder not in _PATH.split(":"))]
)

_HERE = Path(__file__).parent
_OF_A_SERVER = ("test_postgresql.py", "test_database.py")
_LONG = ("chaos", "clients", "fuzz", "hostile", "tempest", "unhappy")
_WITH_ALL_BUT = {
    ("system",): ("test_demo.py", "test_guests.py", "test_life_of_a_cloud.py", "test_nothing_is_left.py",
                  "test_ready.py", "test_restart.py"),
    ("kernel", "compute"): (),
}  # fmt: skip
"""Folders of clouds and guests, and the files of them that every run has."""
_ORACLE = ("test_oracle.py", "test_beside.py")
_PLUGIN = ("test_plugin.py", "test_plugins.py", "test_more.py")
_FIRST = ("chaos", "hostile", "fuzz", "tempest", "system", "unhappy", "clients", "kernel", "cli", "property")
"""The order in which groups are given to processes: those that take long first, so that none is left for the end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store",
        choices=stores.ENGINES,
        default="sqlite",
        help="the engine under the tests of rules, spec and hostile; postgresql is started by the tests",
    )
    parser.addoption("--oracle", action="store_true", help="compare with the real Neutron, which is installed for it")
    parser.addoption(
        "--oracle-requests",
        type=int,
        default=2000,
        metavar="N",
        help="how many requests --oracle compares (default 2000)",
    )
    parser.addoption(
        "--oracle-minutes", type=float, default=20, metavar="M", help="when --oracle ends at the latest (default 20)"
    )
    parser.addoption("--plugin", action="store_true", help="run services' own tests, and all of tempest's")
    parser.addoption("--oracle-seed", type=int, default=None, metavar="S", help="the sequences of an earlier --oracle")
    parser.addoption(
        "--coverage-record", metavar="FILE", help="where tests write what they show, for `python -m tests.coverage`"
    )
    parser.addoption(
        "--fuzz-requests",
        type=int,
        default=20000,
        metavar="N",
        help="how many requests tests/fuzz makes by chance (default 20000; 100000 before a release)",
    )
    parser.addoption("--all", action="store_true", help=f"run the long suites as well: {', '.join(_LONG)}")


def pytest_configure(config: pytest.Config) -> None:
    stores.engine = config.getoption("--store")
    if stores.engine == "postgresql" and (line := postgresql.missing()):
        raise pytest.UsageError(f"--store postgresql: PostgreSQL 15 is not installed\nhint: {line}")
    config.addinivalue_line("markers", "long: takes minutes; run with --all, or when it is named")
    # In CI as elsewhere other examples each time: what fails prints how to have it again.
    settings.register_profile("deuteron", derandomize=False, print_blob=True)
    settings.load_profile("deuteron")


def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = needs.by_design(f"{item.path.relative_to(_HERE)}::{item.name}")
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def patience(request: pytest.FixtureRequest) -> int:
    """How much more than usual a test that tries at random is to try: more with `--all`."""
    return 10 if request.config.getoption("--all") else 1


@pytest.fixture(scope="session")
def fuzz_requests(request: pytest.FixtureRequest) -> int:
    wanted: int = request.config.getoption("--fuzz-requests")
    return wanted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """What docs/api-coverage.md says that a test shows, it shows."""
    watch.begin()
    result = yield
    name = f"{item.path.relative_to(_HERE)}::{item.name}"
    shown = watch.facts()
    if (record := item.config.getoption("--coverage-record")) is None:
        lost = sorted(claimed().get(name, set()) - shown)
        assert not lost, f"docs/api-coverage.md says that this test shows {lost}; to mend: python -m tests.coverage"
    elif shown:
        with Path(record).open("a") as file:
            file.write(json.dumps({"test": name, "facts": sorted(shown)}) + "\n")
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI and with `--all`, what is skipped for want of a program or a right fails."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and (item.config.getoption("--all") or os.environ.get("CI")):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not needs.is_by_design(reason):
            report.outcome = "failed"
            report.longrepr = f"nothing is skipped in CI and with --all: {reason}"
    return report


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What only a server does is tested with one, and what needs another service's packages when asked for."""
    is_other = collection_path.name in _OF_A_SERVER and stores.engine != "postgresql"
    is_oracle = collection_path.name in _ORACLE and not config.getoption("--oracle")
    is_plugin = collection_path.name in _PLUGIN and not config.getoption("--plugin")
    return True if is_other or is_oracle or is_plugin else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    yield
    if folder is not None:
        stores.forget(folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """For `--dist loadgroup`. Imported here, as a run in one process needs none of it."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from tests.groups import Grouped

    return Grouped(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_named = config.args_source is pytest.Config.ArgsSource.ARGS
    for item in items:
        if _is_long(item.path.relative_to(_HERE).parts):
            item.add_marker(pytest.mark.long)
    items.sort(key=lambda item: _place(item.path.relative_to(_HERE).parts))
    if not is_named and not config.getoption("--all"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


def _is_long(parts: tuple[str, ...]) -> bool:
    short = _WITH_ALL_BUT.get(parts[:-1])
    return parts[0] in _LONG or (short is not None and parts[-1] not in short)


def _place(parts: tuple[str, ...]) -> int:
    if parts[:2] == ("kernel", "compute"):
        return -1  # one test, of minutes
    return _FIRST.index(parts[0]) if parts[0] in _FIRST else len(_FIRST)
