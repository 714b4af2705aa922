"""The record of a cloud is written whole, read back the same, and refused when it is not ours to use."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import msgspec
import pytest

from deuteron.model.intent import HostSettings
from deuteron.model.settings import Settings
from deuteron.sandbox.claims import free_port, port_is_free
from deuteron.sandbox.cloud import (
    State,
    default_state_dir,
    new_cloud,
    open_state,
    read_cloud,
    with_tokens,
    write_private,
    write_settings,
)
from deuteron.sandbox.errors import StateError
from deuteron.sandbox.topology_file import default_topology, parse_topology


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path / "s")


def test_an_empty_folder_holds_no_cloud(state: State) -> None:
    assert read_cloud(state) is None


def test_a_cloud_is_read_back_as_it_was_written(state: State) -> None:
    topology = default_topology()
    cloud = with_tokens(new_cloud("c", "none", "openvswitch"), topology)
    write_settings(state, cloud, topology, "qemu")
    assert read_cloud(state) == cloud
    assert set(cloud.tokens) == {"aio", "outside"}


def test_nobody_else_can_read_what_is_secret(state: State) -> None:
    topology = default_topology()
    write_settings(state, with_tokens(new_cloud("c", "none", "openvswitch"), topology), topology, "qemu")
    for path in (state.record, state.api_settings, state.agent_settings("aio")):
        assert path.stat().st_mode & 0o777 == 0o600
    assert state.folder.stat().st_mode & 0o777 == 0o700


def test_the_agent_is_told_what_the_topology_says(state: State) -> None:
    topology = default_topology()
    cloud = with_tokens(new_cloud("c", "ovs", "iptables_hybrid"), topology)
    write_settings(state, cloud, topology, "kvm")
    settings = msgspec.json.decode(state.agent_settings("aio").read_bytes(), type=HostSettings)
    assert settings.token == cloud.tokens["aio"]
    assert settings.firewall_driver == "iptables_hybrid"
    assert settings.bridge_ports == {"br-eth1": "eth1", "br-eth2": "eth2", "br-ex": "eth3"}
    assert settings.virt_type == "kvm"
    api = json.loads(state.api_settings.read_text())
    assert api["hosts"]["aio"]["token"] == settings.token
    assert api["external"]["pool"] == ["172.24.4.10", "172.24.4.250"]


def test_the_api_is_told_the_names_of_physical_networks(state: State) -> None:
    names = '[physical_networks]\nvlan_interface = "default"\nneutron_external_interface = "physnetext"\n'
    topology = parse_topology(names)
    write_settings(state, with_tokens(new_cloud("c", "none", "openvswitch"), topology), topology, "qemu")
    told = msgspec.json.decode(state.api_settings.read_bytes(), type=Settings)
    assert told.vlan_ranges == {"default": ((1000, 2999),), "physnetext": ()}
    assert told.flat_networks == ("physnetext",)
    assert told.external is not None and told.external.physical_network == "physnetext"
    assert told.hosts["aio"].bridge_mappings == {"default": "br-eth2", "physnetext": "br-ex"}


def test_hosts_keep_their_tokens_when_the_topology_grows() -> None:
    cloud = with_tokens(new_cloud("c", "none", "openvswitch"), default_topology())
    grown = with_tokens(cloud, parse_topology('[groups]\nnetwork = ["aio"]\ncompute = ["aio", "c2"]'))
    assert grown.tokens["aio"] == cloud.tokens["aio"]
    assert set(grown.tokens) == {"aio", "c2", "outside"}


@pytest.mark.parametrize("record", [{"format": 99, "and": "nothing else we know"}, {"format": 2, "id": 7}])
def test_a_record_of_a_newer_version_is_refused_whatever_else_it_says(state: State, record: object) -> None:
    state.folder.mkdir()
    state.record.write_text(json.dumps(record))
    with pytest.raises(StateError, match="a newer deuteron made it") as refused:
        read_cloud(state)
    assert refused.value.hint is not None
    assert "--delete" not in refused.value.hint


def test_a_damaged_record_is_refused(state: State) -> None:
    state.folder.mkdir()
    state.record.write_text('{"id": ')
    with pytest.raises(StateError, match="cannot read"):
        read_cloud(state)


def test_a_folder_whose_sockets_would_have_too_long_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="107"):
        open_state(tmp_path / ("x" * 100))


def test_a_private_file_replaces_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / ".f.new").symlink_to(victim)
    write_private(tmp_path / "f", b"content")
    assert victim.read_text() == "untouched"
    assert (tmp_path / "f").read_bytes() == b"content"


def test_a_port_somebody_listens_on_is_passed_over() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port: int = listener.getsockname()[1]
        assert not port_is_free(port)
        with pytest.raises(StateError):
            free_port(port, port)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"DEUTERON_STATE_DIR": "/x", "XDG_STATE_HOME": "/y", "HOME": "/z"}, "/x"),
        ({"XDG_STATE_HOME": "/y", "HOME": "/z"}, "/y/deuteron"),
        ({"HOME": "/z"}, "/z/.local/state/deuteron"),
    ],
)
def test_the_default_folder_follows_the_environment(environment: dict[str, str], folder: str) -> None:
    assert default_state_dir(environment) == Path(folder)


def test_the_api_owns_its_folder_when_the_cloud_runs_as_root(state: State) -> None:
    topology = default_topology()
    cloud = with_tokens(new_cloud("c", "none", "openvswitch"), topology)
    assert cloud.api_uid is not None
    assert 61184 <= cloud.api_uid <= 65519
    for _ in range(2):
        write_settings(state, cloud, topology, "qemu")
        assert state.api.stat().st_uid == state.api_settings.stat().st_uid == cloud.api_uid
        assert state.record.stat().st_uid == 0
