"""What a topology is compared with before a cloud starts with it, and who gets what a host carried."""

from __future__ import annotations

from pathlib import Path

import pytest

from deuteron.cli.departure import least_loaded
from deuteron.cli.topologies import Given, chosen, refuse_abandoned
from deuteron.model.departures import Carried, Named
from deuteron.sandbox.cloud import State
from deuteron.sandbox.errors import TopologyError

TWO = '[groups]\nnetwork = ["a"]\ncompute = ["a", "b"]\n'


def test_a_host_that_would_be_left_behind_is_named_first(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.topology.write_text(TWO)
    refuse_abandoned(state, Given(TWO.replace('["a", "b"]', '["a", "b", "c"]'), "t.toml"))
    with pytest.raises(TopologyError, match=r'host "b" of the cloud is not in t\.toml: servers') as refused:
        refuse_abandoned(state, Given(TWO.replace(', "b"', ""), "t.toml"))
    assert "--abandon leaves them behind" in (refused.value.hint or "")
    with pytest.raises(TopologyError, match=r'host "a" of the cloud is not in group network of t\.toml'):
        refuse_abandoned(state, Given(TWO.replace('["a"]', '["b"]'), "t.toml"))


def test_a_name_comes_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("osad", "mine"):
        (tmp_path / name).write_text(TWO)
    named, own = chosen("osad", None), chosen("mine", None)
    assert named is not None and named.source == "topology osad" and "osad1" in named.text
    assert own == Given(TWO, "mine")
    assert chosen(None, None) is None
    with pytest.raises(TopologyError, match="cannot use --compute with the file mine"):
        chosen("mine", 3)


def test_what_a_host_carries_is_told_in_words() -> None:
    servers = tuple(Named(str(number), f"vm{number}") for number in range(6))
    networks = (Named("n", "net"), Named("m", "two"))
    assert Carried(servers=servers, routers=(Named("r", ""),), networks=networks).words() == (
        "6 servers (vm0, vm1, vm2, vm3, vm4, …)",
        "1 router (r)",
        "DHCP of 2 networks (net, two)",
    )


def test_the_agent_with_the_fewest_takes_over() -> None:
    agents = [
        {"host": host, "configurations": {"routers": count}} for host, count in (("c", 1), ("b", 0), ("a", 2), ("d", 0))
    ]
    assert least_loaded(agents)["host"] == "b"
