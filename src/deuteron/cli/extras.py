"""What `deuteron up --with` adds to a new cloud: tables of its topology, which remembers them."""

from __future__ import annotations

import secrets
from collections.abc import Collection

from deuteron.cli import checks
from deuteron.cli.options import Refused
from deuteron.sandbox.appliance import with_appliance
from deuteron.sandbox.cloud import Cloud, Dataplane
from deuteron.sandbox.topology import Topology


def has_extras(topology: Topology, extras: Collection[str]) -> bool:
    """Whether the topology has all of it."""
    return not extras or any(host.appliance is not None for host in topology.hosts)


def with_extras(text: str, topology: Topology, extras: Collection[str], old: Cloud | None) -> str:
    """The topology's text with what is to be added. Raises: Refused."""
    if has_extras(topology, extras):
        return text
    if old is not None:
        raise Refused(
            f'cannot add an appliance to cloud "{old.name}" with --with: volumes may be kept elsewhere already',
            "write [appliance] and [volume.backends.NAME] in its topology: deuteron up --topology FILE",
        )
    host = next((host for host in topology.hosts if "storage" in host.roles), None)
    if host is None:
        hint = 'write storage = ["NAME"] under [groups]'
        raise Refused("cannot keep volumes on an appliance: no host keeps volumes", hint)
    return with_appliance(text, host.name, host.management_ip, secrets.token_urlsafe(15))


def refuse_missing_clients(topology: Topology, extras: Collection[str], dataplane: Dataplane) -> None:
    """A back end of the network needs QEMU's own client of it; hosts would say so in logs. Raises: Refused."""
    if dataplane == "none":
        if extras:
            hint = "leave out --with or --dataplane none"
            raise Refused("cannot simulate an appliance where hosts are simulated", hint)
        return
    drivers = {backend.driver for host in topology.hosts for backend in host.volume_backends}
    for driver, where, look in (
        ("zfssa", "on an appliance", checks.iscsi),
        ("rbd", "in a Ceph cluster", checks.rbd),
    ):
        if driver in drivers and not (check := look()).present:
            raise Refused(f"cannot keep volumes {where}: {check.summary}", check.advice)


def refuse_open_bridges(what: str) -> None:
    """With Linux bridges, a kernel that does not show bridged frames to iptables would let everything pass."""
    check = checks.bridge_filter()
    if not check.present:
        raise Refused(f"cannot use {what}: {check.summary}", check.advice)
