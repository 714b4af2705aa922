"""Which processes a cloud consists of: pure functions from topology and state folder to `ChildSpec`s.

    outside of the sandbox     api
    on every host              ovsdb-server -> ovs-setup (once) -> ovs-vswitchd -> agent
    on compute hosts           libvirtd
    on the host of [appliance] appliance
    on the host outside        outside-gateways -> outside-dnsmasq, where the topology has it serve DNS or DHCP

An agent waits for its switch, so that its first look at the host is not an error; everything else
finds its peers by itself.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from .children import ChildSpec
from .cloud import Cloud, State
from .outside_services import NAMES, PROCESS, arguments
from .topology import OUTSIDE, Host

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
OVS_SOCKET = "/run/openvswitch/db.sock"


def environment(home: Path, source: Path) -> dict[str, str]:
    """What every process of the cloud gets, and nothing of the environment `up` ran in."""
    return {
        "PATH": SYSTEM_PATH,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(source),
        "PYTHONUNBUFFERED": "1",
        # Large blocks (a password's hash takes 16 MB, a long list 4) go back to the system at once: the API has 60 MB
        # with this and 100 without.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": "1048576",
    }


def api_process(state: State, python: str, source: Path) -> ChildSpec:
    return ChildSpec(
        name="api",
        host="",
        argv=(python, "-m", "deuteron.api", "--settings", str(state.api_settings)),
        env=environment(state.api, source),
        cwd=str(state.api),
    )


def host_processes(host: Host, cloud: Cloud, state: State, python: str, source: Path) -> tuple[ChildSpec, ...]:
    """The processes of one host of a sandbox, in the order of their start; none for a host without a role."""
    if host.name == OUTSIDE:
        return _outside(host, state, python, source)
    if not host.roles:
        return ()
    env = environment(state.host(host.name), source)

    def child(
        process: str,
        *argv: str,
        after: tuple[str, ...] = (),
        ready: tuple[str, ...] = (),
        once: bool = False,
    ) -> ChildSpec:
        return ChildSpec(
            name=f"{host.name}-{process}",
            host=host.name,
            argv=argv,
            env=env,
            after=tuple(f"{host.name}-{name}" for name in after),
            ready=ready,
            once=once,
        )

    system_id = uuid.uuid5(uuid.UUID(cloud.id), host.name)
    processes = [
        child(
            "ovsdb-server",
            "ovsdb-server",
            str(state.host(host.name) / "ovs" / "conf.db"),
            f"--remote=punix:{OVS_SOCKET}",
            "--pidfile=/run/openvswitch/ovsdb-server.pid",
            "-vconsole:info",
            "-vsyslog:off",
            ready=(OVS_SOCKET,),
        ),
        child(
            "ovs-setup",
            "sh",
            "-c",
            # The version as Debian's start script enters it: `ovs-vsctl show` ends with it.
            "exec ovs-vsctl --no-wait --timeout=10 init -- set Open_vSwitch . "
            f"external_ids:system-id={system_id} external_ids:hostname={host.name} "
            "ovs_version=$(ovs-vswitchd --version | sed -n '1s/.* //p')",
            after=("ovsdb-server",),
            once=True,
        ),
        child(
            "ovs-vswitchd",
            "ovs-vswitchd",
            f"unix:{OVS_SOCKET}",
            "--pidfile=/run/openvswitch/ovs-vswitchd.pid",
            "-vconsole:info",
            "-vsyslog:off",
            after=("ovs-setup",),
            ready=("/run/openvswitch/ovs-vswitchd.pid",),
        ),
    ]
    if "compute" in host.roles:
        processes.append(child("libvirtd", "libvirtd"))
    if host.appliance is not None:
        folder, password = str(state.appliance(host.name)), str(state.appliance_password(host.name))
        told = host.appliance.arguments(host.management_ip, folder, password)
        processes.append(child("appliance", python, "-m", "deuteron.appliance", *told))
    processes.append(_agent(host, state, env, python, after=(f"{host.name}-ovs-vswitchd",)))
    return tuple(processes)


def _outside(host: Host, state: State, python: str, source: Path) -> tuple[ChildSpec, ...]:
    argv = (python, "-m", "deuteron.sandbox.outside", str(state.outside_settings))
    env = environment(state.host(host.name), source)
    gateways = "outside-gateways"
    if host.serves is None:
        return (ChildSpec(gateways, host.name, argv, env),)
    folder = str(state.outside_services)
    serve = arguments(*host.serves, host.interfaces.neutron_external_interface, folder)
    return (
        ChildSpec(gateways, host.name, argv, env, ready=(f"{folder}/{NAMES}",)),
        ChildSpec(f"{host.name}-{PROCESS}", host.name, serve, env, after=(gateways,)),
    )


def simulated_agent(host: Host, state: State, python: str, source: Path) -> ChildSpec:
    """The agent of a host that has no kernel of its own (`--dataplane none`)."""
    return _agent(host, state, environment(state.host(host.name), source), python, after=())


def _agent(host: Host, state: State, env: dict[str, str], python: str, after: tuple[str, ...]) -> ChildSpec:
    return ChildSpec(
        name=f"{host.name}-agent",
        host=host.name,
        argv=(python, "-m", "deuteron.agent", "--settings", str(state.agent_settings(host.name))),
        env=env,
        cwd=str(state.host(host.name)),
        after=after,
    )
