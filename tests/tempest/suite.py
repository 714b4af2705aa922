"""A run of tempest against a running cloud: which tests there are, and what became of each."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import openstack
import yaml

from deuteron.sandbox.appliance import with_appliance
from tests.clouds import PROGRAM
from tests.tempest import configuration
from tests.tempest.environment import PLUGIN as PLUGIN_LOCK
from tests.tempest.environment import TEMPEST as TEMPEST_LOCK
from tests.tempest.environment import environment
from tests.tempest.results import Result, plain, results

HERE = Path(__file__).parent
PROCESSES = 2
_PACKAGES = ("tempest", "neutron_tempest_plugin", "keystone_tempest_plugin", "cinder_tempest_plugin")
_BETWEEN_HOSTS = re.compile(r"\.admin\.test_(live_migration|migrations|servers_on_multinodes)")


@dataclass(frozen=True)
class Suite:
    """Tests that come in one environment, and what is said of them here."""

    lock_file: Path
    pattern: str
    """A regular expression for the names of those that run unless others are named."""
    list_of_waiting: Path
    run_s: float
    """Until a run that does not end is ended: some five times what it takes on a busy machine."""
    earlier_aliases: Mapping[str, str] = field(hash=False)
    """Extensions that its tests ask for under a name that Neutron lists no more, by the name that it lists."""
    more: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)
    """What of the tests' configuration follows from what the operator of the cloud has set."""

    @property
    def waiting(self) -> dict[str, str]:
        """The tests that do not pass yet, each with what it waits for."""
        listed = yaml.safe_load(self.list_of_waiting.read_text()) or {}
        return {name: reason for reason, names in listed.items() for name in names}


TEMPEST = Suite(TEMPEST_LOCK, r"^tempest\.api\.network\.", HERE / "waiting.yaml", 600.0, {"standard-attr-tag": "tag"})
POWERED_OPERATOR = """
[image]
require_image_format_match = false

[security_compliance]
lockout_failure_attempts = 2
lockout_duration = 5
unique_last_password_count = 2
"""
"""What the tests of POWERED take for granted of a cloud: images of any bytes, and rules for passwords."""
_GUESTS = {
    "run_validation": "true",
    "connect_method": "floating",
    "auth_method": "keypair",
    "image_ssh_user": "tiny",
    "image_alt_ssh_user": "tiny",
    "ssh_timeout": "120",
}
"""How tests log in to guests, by the way that `way/sitecustomize.py` makes."""
POWERED = Suite(
    TEMPEST_LOCK,
    r"^tempest\.api\.",
    HERE / "powered-waiting.yaml",
    2400.0,
    TEMPEST.earlier_aliases,
    {
        "image-feature-enabled": {"image_format_enforcement": "false"},
        "identity-feature-enabled": {"security_compliance": "true"},
        "identity": {
            "user_lockout_failure_attempts": "2",
            "user_lockout_duration": "5",
            "user_unique_last_password_count": "2",
        },
        "validation": _GUESTS,
    },
)
"""What OpenStack Powered Compute asks for (`powered`): whole servers among it, which take their time."""
SHARED_TYPE = "shared"
"""The volume type, made by `furnish`, whose volumes several servers may have at once."""
ONE_HOST = """
[groups]
control = ["aio"]
network = ["aio"]
compute = ["aio"]
storage = ["aio"]

[volume.backends.first]
driver = "file"

[volume.backends.second]
driver = "file"
"""
"""Where MORE runs: volumes go from one back end to the other."""
_FILTERS = (
    *("ComputeFilter", "ComputeCapabilitiesFilter", "ImagePropertiesFilter", "SameHostFilter", "DifferentHostFilter"),
    *("ServerGroupAntiAffinityFilter", "ServerGroupAffinityFilter"),
)
"""Nova's names of what chooses hosts here, which no API tells."""
MORE = replace(
    POWERED,
    list_of_waiting=HERE / "more-waiting.yaml",
    run_s=4800.0,
    more={
        **POWERED.more,
        "identity-feature-enabled": {"security_compliance": "true", "trust": "true"},
        # Requests of Compute are judged by Nova's new rules, among which `manager` has some of its own.
        "enforce_scope": {"nova": "true"},
        "compute-feature-enabled": {
            "cold_migration": "true",
            "volume_multiattach": "true",
            "swap_volume": "true",
            "personality": "true",
            "vnc_console": "true",
            "scheduler_enabled_filters": ",".join(_FILTERS),
            "nova_policy_roles": "admin,manager,member,reader,service",
        },
        "volume": {"volume_type_multiattach": SHARED_TYPE, "backend_names": "first,second"},
        "volume-feature-enabled": {"multi_backend": "true"},
    },
)
"""What tempest has of each service beyond that (`more`)."""
TWO_HOSTS = with_appliance(
    """
[groups]
control = ["c1"]
network = ["c1"]
compute = ["c1", "c2"]
storage = ["c1", "c2"]
""",
    "c1",
    "172.30.0.10",
    "a password of it",
)
"""Where MOVES run: both hosts reach the volumes, as servers that begin with them take for granted."""
MOVES = replace(
    MORE,
    more={
        **MORE.more,
        "compute": {"min_compute_nodes": "2"},
        "compute-feature-enabled": {
            **MORE.more["compute-feature-enabled"],
            "live_migration": "true",
            "block_migration_for_live_migration": "true",
            "live_migrate_back_and_forth": "true",
            "block_migrate_cinder_iscsi": "true",
            "volume_backed_live_migration": "true",
        },
        "volume": {"volume_type_multiattach": SHARED_TYPE},
        "volume-feature-enabled": {},
    },
)
"""Those of MORE that take two hosts for granted, between which servers go."""
PLUGIN = Suite(PLUGIN_LOCK, r"^neutron_tempest_plugin\.api\.", HERE / "plugin-waiting.yaml", 1800.0, {})
"""Neutron's own tests of its API, which its plugin for tempest brings: what operators and drivers are judged by."""
_NOT_THERE = "consumer|identity_provider|mapping|policy|policy_association|protocol|service_provider"
"""Of what Keystone's tests look at: federation, OAuth and policies (docs/api-coverage.md)."""
KEYSTONE = Suite(
    PLUGIN_LOCK,
    rf"^keystone_tempest_plugin\.tests\.rbac\.v3\.test_(?!({_NOT_THERE})\.)",
    HERE / "keystone-waiting.yaml",
    3600.0,
    {},
    {"enforce_scope": {"keystone": "true"}},
)
"""Keystone's own tests of which persona may do what to whom."""
CINDER = Suite(
    PLUGIN_LOCK,
    r"^cinder_tempest_plugin\.(api|rbac)\.",
    HERE / "cinder-waiting.yaml",
    3600.0,
    {},
    {
        "enforce_scope": {"cinder": "true"},
        "volume-feature-enabled": {"volume_revert": "true", "enable_volume_image_dep_tests": "true"},
    },
)
"""Cinder's own tests of its API, and of which persona may do what."""


def furnish(clouds: Path) -> None:
    """Make what tests of MORE take from an operator. Raises: AssertionError."""
    config = openstack.config.OpenStackConfig(config_files=[str(clouds)]).get_one("admin")
    storage = openstack.connection.Connection(config=config).block_storage
    storage.create_type(name=SHARED_TYPE, extra_specs={"multiattach": "<is> True"})


def powered(service: str = "") -> list[str]:
    """The tests that OpenStack Powered Compute asks for; of one service ("network") or of all."""
    lines = (HERE / "powered-compute.txt").read_text().splitlines()
    return [line for line in lines if line.startswith(f"tempest.api.{service}")]


def more(*, between_hosts: bool) -> list[str]:
    """Tests of tempest that OpenStack Powered Compute does not ask for: those of several hosts, or the others."""
    lines = [line for line in (HERE / "more.txt").read_text().splitlines() if not line.startswith("#")]
    return [line for line in lines if bool(_BETWEEN_HOSTS.search(line)) is between_hosts]


def names(of: Suite, pattern: str | None = None) -> list[str]:
    """The tests in whose names the regular expression (else that of the suite) is found, in tempest's order."""
    asked = of.pattern if pattern is None else pattern
    return [plain(test_id) for test_id in _ids(of) if re.search(asked, plain(test_id))]


def run(of: Suite, clouds: Path, tests: Sequence[str]) -> list[Result]:
    """Run these tests, side by side by class, as the administrator of a clouds.yaml.

    Raises: AssertionError when there is no such test, or when they are not done in time.
    """
    with _workspace(of) as folder:
        configuration.write(clouds, folder, of.earlier_aliases, of.more)
        # What a test is marked with depends on the configuration, and is a part of its id.
        ids = {plain(test_id): test_id for test_id in _listed(of, folder)}
        unknown = [name for name in tests if name not in ids]
        assert not unknown, f"tempest has no test {unknown}"
        (folder / "list").write_text("\n".join(ids[test] for test in tests))
        words = ("--subunit", "--concurrency", str(PROCESSES), "--load-list", str(folder / "list"))
        stream = _stestr(of, folder, "run", *words, more=_way(clouds))
    reader = [environment(of.lock_file) / "bin" / "python", HERE / "subunit_to_json.py"]
    lines = subprocess.run(reader, input=stream, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    return results(tests, [json.loads(line) for line in lines.splitlines()])


@cache
def _ids(of: Suite) -> tuple[str, ...]:
    with _workspace(of) as folder:
        return _listed(of, folder)


def _listed(of: Suite, folder: Path) -> tuple[str, ...]:
    lines = _stestr(of, folder, "list").decode().splitlines()
    return tuple(line for line in lines if line.partition(".")[0] in _PACKAGES)


@contextmanager
def _workspace(of: Suite) -> Iterator[Path]:
    """A folder where stestr finds tempest's tests, and runs those of a class in one process."""
    (package,) = (environment(of.lock_file) / "lib").glob("python3.*/site-packages/tempest")
    told = {"test_path": package / "test_discover", "top_dir": package, "group_regex": r"([^\.]*\.)*"}
    lines = [f"{name}={value}" for name, value in told.items()]
    with tempfile.TemporaryDirectory(prefix="deuteron-tempest-") as made:
        folder = Path(made)
        (folder / ".stestr.conf").write_text("\n".join(("[DEFAULT]", *lines, "")))
        _stestr(of, folder, "init")
        yield folder


_RELAY = "exec 3<>/dev/tcp/$0/$1 || exit; cat <&3 & cat >&3"


def _way(clouds: Path) -> dict[str, str]:
    """What has tempest's processes reach addresses outside of the sandbox (`way/sitecustomize.py`)."""
    command = [*PROGRAM, "exec", "--state-dir", str(clouds.parent), "outside", "--", "bash", "-c", _RELAY]
    way = {"networks": configuration.outside(clouds), "command": command}
    return {"PYTHONPATH": str(HERE / "way"), "DEUTERON_TEMPEST_WAY": json.dumps(way)}


def _stestr(of: Suite, folder: Path, *words: str, more: Mapping[str, str] | None = None) -> bytes:
    """What stestr says on stdout; `more` is of its environment.

    Raises: AssertionError when it fails and says nothing there (it fails too when a test does), or runs for too long.
    """
    started = subprocess.Popen(
        [environment(of.lock_file) / "bin" / "stestr", *words],
        cwd=folder,
        env={**os.environ, **(more or {}), "TEMPEST_CONFIG_DIR": str(folder), "TEMPEST_CONFIG": "tempest.conf"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = started.communicate(timeout=of.run_s)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)  # its processes too
        started.communicate()
        raise AssertionError(f"tempest is not done after {of.run_s:.0f} s") from None
    assert out or not started.returncode, f"stestr {words[0]}: {started.returncode} {err.decode(errors='replace')}"
    return out
