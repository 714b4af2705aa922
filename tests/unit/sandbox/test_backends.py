"""Tables of back ends for volumes become what hosts carry, or a message that shows no value of them."""

from __future__ import annotations

import pytest

from deuteron.cli.plugins import refuse_wrong_backends
from deuteron.model.intent import BackendSettings
from deuteron.sandbox.backends import DEFAULT, Common
from deuteron.sandbox.errors import TopologyError
from deuteron.sandbox.topology_file import parse_topology
from deuteron.volume import registry

HOSTS = """
[groups]
network = ["n1"]
compute = ["c1", "c2"]
storage = ["c1", "c2", "s1"]
"""
TWO = f"""{HOSTS}
[volume.backends.fast]
driver = "file"
hosts = ["c1"]
volume_backend_name = "quick"
capacity_gib = 10

[volume.backends.slow]
driver = "file"
max_over_subscription_ratio = 2.5
reserved_percentage = 10
"""


def carried(text: str) -> dict[str, tuple[BackendSettings, ...]]:
    return {host.name: host.volume_backends for host in parse_topology(text).hosts}


def test_without_a_table_each_storage_host_carries_the_one_back_end() -> None:
    assert carried(HOSTS) == {"n1": (), "c1": (DEFAULT,), "c2": (DEFAULT,), "s1": (DEFAULT,), "outside": ()}
    assert (DEFAULT.name, DEFAULT.driver, DEFAULT.volume_backend_name, DEFAULT.options) == ("file", "file", "file", {})


def test_a_back_end_is_carried_by_the_hosts_that_its_table_names_or_by_all_of_storage() -> None:
    fast = BackendSettings("fast", "file", "quick", {"capacity_gib": 10})
    slow = BackendSettings("slow", "file", "slow", {}, 2.5, 10)
    assert carried(TWO) == {"n1": (), "c1": (fast, slow), "c2": (slow,), "s1": (slow,), "outside": ()}
    in_groups = carried(TWO.replace('hosts = ["c1"]', 'hosts = ["compute", "s1", "c2"]'))
    assert [name for name, found in in_groups.items() if fast in found] == ["c1", "c2", "s1"]


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ('driver = "file"\nhosts', "hosts", "required field `driver`.*[(]line 7: .volume.backends.fast.[)]", "driver"),
        (
            'hosts = ["c1"]',
            'hosts = ["n1"]',
            'host "n1" cannot carry back end "fast".*[(]line 9: hosts = …[)]',
            "c1, c2",
        ),
        ('hosts = ["c1"]', "hosts = []", 'no host carries back end "fast"', "hosts = "),
        ('"quick"', '"a#b"', r'volume_backend_name "a#b".*[(]line 10: volume_backend_name = …[)]', "64"),
        ("2.5", "0.5", ">= 1.*max_over_subscription_ratio.*[(]line 15: max_over_subscription_ratio = …[)]", "driver"),
        ("fast]", '"f@st"]', 'cannot name a back end "f@st"', "64"),
        ("[volume.backends.slow]", "[volume.slow]", "unknown field `slow`", "backends"),
    ],
)
def test_what_every_back_end_says_is_judged_with_its_line(old: str, new: str, message: str, hint: str) -> None:
    with pytest.raises(TopologyError, match=message) as refused:
        parse_topology(TWO.replace(old, new), "x.toml")
    assert hint in str(refused.value.hint)


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        (
            "capacity_gib = 10",
            'colour = "s3cret"',
            r"unknown field `colour`.*[(]line 11: colour = …[)]",
            "capacity_gib;",
        ),
        ("capacity_gib = 10", 'capacity_gib = "s3cret"', r"`int.*[(]line 11: capacity_gib = …[)]", "capacity_gib;"),
        (
            'driver = "file"\nmax',
            'driver = "tape"\nmax',
            r'driver "tape" .known: .*file.*[(]line 14: driver = …[)]',
            "pip",
        ),
    ],
)
def test_what_a_driver_is_told_is_judged_by_it_and_never_shown(old: str, new: str, message: str, hint: str) -> None:
    text = TWO.replace(old, new)
    with pytest.raises(TopologyError, match=message) as refused:
        refuse_wrong_backends(parse_topology(text), text, "x.toml")
    assert hint in str(refused.value.hint)
    assert "s3cret" not in f"{refused.value.message} {refused.value.hint}"


def test_a_good_topology_passes_and_secrets_are_in_no_words() -> None:
    refuse_wrong_backends(parse_topology(TWO), TWO, "x.toml")
    secret = BackendSettings("fast", "file", "fast", {"password": "s3cret"})
    assert "s3cret" not in repr(secret)
    text = TWO.replace("capacity_gib = 10", 'password = "n7"') + "\n[hosts.n7]\n"
    with pytest.raises(TopologyError, match="n7") as refused:
        parse_topology(text, "x.toml")
    assert "password" not in refused.value.message


def test_drivers_and_topologies_agree_on_what_every_back_end_has() -> None:
    assert Common.__struct_fields__ == registry.COMMON
