"""The state folder: where everything a cloud is lies, and the record that names it.

    cloud.json      this record: id, name, port, secrets, options      0600
    topology.toml   the topology as it was given
    clouds.yaml     for clients                                         0600
    lock            held while `up` or `down` works
    api/            owned by the API's identity: cloud.db, keys, images, api.sock, api.json
    hosts/<host>/   owned by root of the hosts: agent.json, ovs/, dhcp/, instances/, images/, libvirt/, run/
    log/            one file for each process, written by the supervisor
    snapshots/      copies of all of the above but logs and run/, by name; see `snapshots`
    run/            supervisor.sock, supervisor.lock; nothing in it outlives a boot

Invariant: everything in the folder is the cloud's own, and closed to others (`refuse_strangers`, `custody`).
Invariant: `cloud.json` is written whole or not at all (write, fsync, rename), and before anything that
depends on it exists. A crash during the first `up` leaves a record that the next `up` continues from.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from deuteron.model.intent import FirewallDriver, HostSettings
from deuteron.model.outside import OutsideSettings
from deuteron.sandbox.claims import free_port, free_uid

from .custody import own_tree, own_way, read_own
from .errors import NamespaceError, StateError
from .identities import RANGE_LENGTH, acting_as, free_range, give_hosts
from .namespaces import user_id_maps
from .outside_services import records
from .topology import OUTSIDE, PROVIDER_BRIDGE, Host, Topology

FORMAT = 1
_LONGEST_SOCKET_PATH = 107  # sun_path of unix(7) holds 108 bytes with the closing zero

_OTHER_FOLDER = "choose another folder: --state-dir DIR, or DEUTERON_STATE_DIR"

Dataplane = Literal["ovs", "none"]


class Cloud(msgspec.Struct, frozen=True):
    """What a cloud is and stays, whatever happens to its processes."""

    id: str
    name: str
    port: int
    dataplane: Dataplane
    firewall: FirewallDriver
    admin_password: str
    demo_password: str
    tokens: dict[str, str]
    """The secret of each host's agent."""
    api_uid: int | None = None
    """The identity of the API when the cloud runs as root; None: the user's own."""
    host_ids: int | None = None
    """The first of 65536 identities of the hosts when the cloud runs as root; None: the user's own, or root's."""
    created_at: str = ""
    database: str = ""
    """The URI of the PostgreSQL database that keeps its rows, without the password; "": SQLite in the API's folder."""
    database_password: str = ""
    origins: tuple[str, ...] = ()
    """Of a fork: the state folders of the clouds before it. Files of its hosts name each other by these paths, and its
    hosts find them there."""
    stopped: tuple[str, ...] = ()
    """Hosts that are switched off."""
    links_down: dict[str, tuple[str, ...]] = {}
    """The interfaces of hosts whose cables are out."""
    format: int = FORMAT


class _Format(msgspec.Struct, frozen=True):
    format: int = 1


class State(msgspec.Struct, frozen=True):
    """Paths in the state folder."""

    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / "cloud.json"

    @property
    def topology(self) -> Path:
        return self.folder / "topology.toml"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def clouds_yaml(self) -> Path:
        return self.folder / "clouds.yaml"

    @property
    def api(self) -> Path:
        return self.folder / "api"

    @property
    def api_settings(self) -> Path:
        return self.api / "api.json"

    @property
    def api_socket(self) -> Path:
        return self.api / "api.sock"

    @property
    def snapshots(self) -> Path:
        return self.folder / "snapshots"

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def control_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def failure(self) -> Path:
        """Why the last supervisor gave up, as a `Failure`."""
        return self.run / "failure.json"

    def host(self, name: str) -> Path:
        return self.folder / "hosts" / name

    def agent_settings(self, name: str) -> Path:
        return self.host(name) / "agent.json"

    def appliance(self, host: str) -> Path:
        """What a simulated appliance keeps."""
        return self.host(host) / "appliance"

    def appliance_password(self, host: str) -> Path:
        return self.host(host) / "appliance.password"

    @property
    def outside_settings(self) -> Path:
        return self.host(OUTSIDE) / "outside.json"

    @property
    def outside_services(self) -> Path:
        """What the dnsmasq of `outside` reads, and what it leased."""
        return self.host(OUTSIDE) / "services"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"


class Failure(msgspec.Struct, frozen=True):
    message: str
    hint: str | None = None


def default_state_dir(environment: Mapping[str, str] | None = None) -> Path:
    """`$DEUTERON_STATE_DIR`, else `deuteron` in the user's XDG state folder."""
    environment = os.environ if environment is None else environment
    chosen = environment.get("DEUTERON_STATE_DIR")
    if chosen:
        return Path(chosen)
    base = environment.get("XDG_STATE_HOME") or os.path.join(environment.get("HOME") or "/", ".local", "state")
    return Path(base) / "deuteron"


def open_state(folder: Path) -> State:
    """The state in `folder`, which need not exist.

    Raises: StateError if another user could put another folder in its place, or has; or if sockets in it would have a
    longer path than the kernel takes.
    """
    state = State(own_way(folder, "state folder", _OTHER_FOLDER))
    longest = len(os.fsencode(state.control_socket))
    if longest > _LONGEST_SOCKET_PATH:
        raise StateError(
            f'cannot use "{state.folder}" as a state folder: a socket in it would have a path of {longest} bytes, '
            f"and the kernel takes {_LONGEST_SOCKET_PATH}",
            "choose a shorter path with --state-dir",
        )
    return state


def read_cloud(state: State) -> Cloud | None:
    """The record of the cloud in `state`; None if there is none.

    Raises: StateError if the record cannot be read, or is of a version we do not know.
    """
    try:
        raw = read_own(state.record)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise _not_a_folder(state) from error
    except PermissionError as error:
        raise StateError(f"cannot read {state.record}: permission denied", "is it another user's cloud?") from error
    except OSError as error:
        raise StateError(f"cannot read {state.record}: {lower(error)}", "choose another --state-dir") from error
    try:
        # Alone and first: of the rest of a newer record nothing is known.
        written = msgspec.json.decode(raw, type=_Format).format
        if written > FORMAT:
            raise StateError(
                f"cannot use {state.folder}: a newer deuteron made it, in format {written}; this one knows {FORMAT}",
                "run the deuteron that made it, or choose another --state-dir",
            )
        return msgspec.json.decode(raw, type=Cloud)
    except msgspec.MsgspecError as error:
        raise StateError(
            f"cannot read {state.record}: it is damaged: {error}",
            "put it back from a backup; deuteron down --delete gives the cloud up",
        ) from error


def new_cloud(name: str, dataplane: Dataplane, firewall: FirewallDriver, port: int | None = None) -> Cloud:
    """A cloud that never was, with secrets of its own and `port`, or else the first free one from 5000 on."""
    return Cloud(
        id=str(uuid.uuid4()),
        name=name,
        port=port or free_port(),
        dataplane=dataplane,
        firewall=firewall,
        admin_password=secrets.token_urlsafe(15),
        demo_password=secrets.token_urlsafe(15),
        tokens={},
        api_uid=free_uid() if os.getuid() == 0 else None,
        host_ids=free_range() if os.getuid() == 0 else None,
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def with_identities(cloud: Cloud) -> Cloud:
    """`cloud` with identities for its hosts, when it is root's and from before hosts had any."""
    if os.getuid() != 0 or cloud.host_ids is not None:
        return cloud
    return msgspec.structs.replace(cloud, host_ids=free_range())


def with_tokens(cloud: Cloud, topology: Topology) -> Cloud:
    """`cloud` with a token for every host of `topology` that asks the API; hosts keep theirs."""
    names = [*(host.name for host in topology.agents), OUTSIDE]
    tokens = {name: cloud.tokens.get(name) or secrets.token_urlsafe(32) for name in names}
    return msgspec.structs.replace(cloud, tokens=tokens)


def write_settings(state: State, cloud: Cloud, topology: Topology, virt_type: Literal["kvm", "qemu"]) -> None:
    """Write what the API and the agents are told at their start, `cloud.json` first."""
    for folder in (state.folder, state.logs, state.run):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    write_private(state.record, _pretty(cloud))
    state.api.mkdir(mode=0o700, exist_ok=True)
    if cloud.api_uid is not None:
        give_to(state.api, cloud.api_uid)
        # Agents pass it to the socket, as members of the API's group.
        state.api.chmod(0o710)
    trunk = topology.physical_networks.vlan_interface
    provider = topology.physical_networks.neutron_external_interface
    outside = topology.host(OUTSIDE)
    api_settings = {
        "state_dir": str(state.api),
        "host": "127.0.0.1",
        "port": cloud.port,
        "socket": str(state.api_socket),
        "region": "RegionOne",
        "hosts": {
            host.name: {
                "token": cloud.tokens[host.name],
                "bridge_mappings": host.bridge_mappings,
                "tunnel_ip": host.tunnel_ip,
                "roles": host.roles,
                "groups": host.groups,
                "mechanism_drivers": host.mechanism_drivers,
                "bridge_ports": host.bridge_ports,
                "bridge_addresses": _bridge_addresses(topology, host),
            }
            for host in topology.agents
        },
        "outside_token": cloud.tokens[OUTSIDE],
        "outside_forwards": topology.outside.forward,
        "outside_wires": sorted(outside.physical_interfaces) if outside is not None else [],
        "admin_password": cloud.admin_password,
        "demo_password": cloud.demo_password,
        "database": cloud.database,
        "database_password": cloud.database_password,
        # As Kolla has it: beyond the external interface are flat networks and VLANs, which an administrator gives.
        "vlan_ranges": {trunk: [[1000, 2999]], provider: []},
        "flat_networks": [provider],
        "tunnel_types": topology.tunnel_types,
        "tenant_network_types": [*topology.tunnel_types, "vlan"],
        "mechanism_drivers": topology.mechanism_drivers,
        "external": {
            "physical_network": provider,
            "cidr": topology.external.cidr,
            "gateway": topology.external.gateway,
            "pool": list(topology.external.pool),
        }
        if topology.external.create_network
        else None,
        "global_physnet_mtu": topology.physical_mtu,
        "path_mtu": topology.path_mtu,
        "dataplane": cloud.dataplane,
        "firewall_driver": cloud.firewall,
    }
    _write_as(cloud.api_uid, state.api, {state.api_settings.name: _pretty(api_settings)})
    if cloud.host_ids is not None:
        give_hosts(state.folder / "hosts", [host.name for host in topology.hosts], cloud.host_ids)
    if outside is not None:
        served = topology.outside
        told = OutsideSettings(
            str(state.api_socket),
            cloud.tokens[OUTSIDE],
            outside.physical_interfaces,
            str(state.outside_services) if served.is_served else "",
            records(served, topology.external, topology.hosts),
            served.forward,
        )
        folder = state.host(OUTSIDE)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_as(cloud.host_ids, folder, {state.outside_settings.name: _pretty(told)})
    for host in topology.agents:
        settings = host_settings(state, cloud, topology, host, virt_type)
        folder = state.host(host.name)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folders = ("dhcp", "instances", "images", "run", "ovs")
        files = {state.agent_settings(host.name).name: _pretty(settings)}
        if host.appliance is not None:
            files[state.appliance_password(host.name).name] = host.appliance.password.encode()
        _write_as(cloud.host_ids, folder, files, folders)


def host_settings(
    state: State, cloud: Cloud, topology: Topology, host: Host, virt_type: Literal["auto", "kvm", "qemu"] = "auto"
) -> HostSettings:
    """What the agent of a host is told at its start."""
    return HostSettings(
        host=host.name,
        state_dir=str(state.host(host.name)),
        api_socket=str(state.api_socket),
        token=cloud.tokens[host.name],
        bridge_mappings=host.bridge_mappings,
        bridge_ports=host.bridge_ports,
        bridge_addresses=_bridge_addresses(topology, host),
        tunnel_ip=host.tunnel_ip,
        tunnel_types=topology.tunnel_types,
        firewall_driver=cloud.firewall,
        dataplane=cloud.dataplane,
        roles=host.roles,
        mechanism_drivers=host.mechanism_drivers,
        virt_type=virt_type,
        bandwidths=host.bandwidths,
        packet_rates=host.packet_rates,
        volume_backends=host.volume_backends,
    )


def _bridge_addresses(topology: Topology, host: Host) -> dict[str, str]:
    tunnel_length = topology.networks.tunnel.rpartition("/")[2]
    addresses = {host.tunnel_bridge: f"{host.tunnel_ip}/{tunnel_length}"} if host.tunnel_ip else {}
    if host.external_ip is not None:
        addresses[PROVIDER_BRIDGE] = f"{host.external_ip}/{topology.external.cidr.rpartition('/')[2]}"
    return addresses


def _write_as(uid: int | None, folder: Path, files: Mapping[str, bytes], folders: tuple[str, ...] = ()) -> None:
    """Write files and make folders in `folder`, as the identity that owns it."""

    def write(place: Path) -> None:
        for name in folders:
            (place / name).mkdir(mode=0o700, exist_ok=True)
        for name, content in files.items():
            write_private(place / name, content)

    if uid is None:
        write(folder)
    else:
        acting_as(uid, folder, lambda: write(Path(".")))


def write_private(path: Path, content: bytes) -> None:
    """Replace the file at `path` whole, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.new")
    # The folder may belong to the API, which must not lead root's pen elsewhere with a link.
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


@contextlib.contextmanager
def locked(state: State, tell_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Be the only `up` or `down` on this state folder; waits for another to finish, and says so by `tell_waiting`.

    A folder that has nothing but the lock at the end is removed: nothing came of it.

    Raises: StateError if the folder cannot be made, or nothing can be written in it.
    """
    while True:
        try:
            state.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if own_way(state.folder, "state folder", _OTHER_FOLDER) != state.folder:
                raise StateError(f"cannot use {state.folder}: it is a symbolic link now", _OTHER_FOLDER)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.fdopen(os.open(state.lock, flags, 0o600), "wb")
        except (FileExistsError, NotADirectoryError) as error:
            raise _not_a_folder(state) from error
        except OSError as error:
            raise StateError(f"cannot make a cloud in {state.folder}: {lower(error)}", _OTHER_FOLDER) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell_waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        # Whoever had it may have removed the folder: then it is a lock on nothing.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), state.lock.stat()):
                break
        file.close()
    with file:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if [entry.name for entry in state.folder.iterdir()] == [state.lock.name]:
                    state.lock.unlink()
                    state.folder.rmdir()


def refuse_strangers(state: State, cloud: Cloud | None) -> None:
    """See that everything in the state folder is the cloud's, before it starts and anything is opened there.

    Raises: StateError naming the first thing that somebody else made, or could write.
    """
    state.folder.chmod(0o700)
    own = {os.getuid()}
    strangers: set[int] = set()
    if os.getuid() != 0:
        with contextlib.suppress(NamespaceError):
            for row in user_id_maps().uids:
                own.update(range(row.outside, row.outside + row.length))
    elif cloud is not None:
        strangers.update([] if cloud.api_uid is None else [cloud.api_uid])
        strangers.update([] if cloud.host_ids is None else range(cloud.host_ids, cloud.host_ids + RANGE_LENGTH))
    own_tree(state.folder, own, strangers)


def lower(error: OSError) -> str:
    """The kernel's words for an error, as the middle of a sentence."""
    words = error.strerror or str(error)
    return words[:1].lower() + words[1:]


def _not_a_folder(state: State) -> StateError:
    return StateError(
        f'cannot use "{state.folder}" as a state folder: it, or one it lies in, is a file',
        _OTHER_FOLDER,
    )


def give_to(folder: Path, uid: int) -> None:
    """Make `folder` and all in it belong to `uid`. Links are not followed."""
    if folder.stat().st_uid == uid:
        return
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(base, name), uid, uid, follow_symlinks=False)
    os.chown(folder, uid, uid)


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
