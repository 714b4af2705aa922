"""Hosts under their first path, `os-hosts`, which microversion 2.43 took away.

What changes a host there is for hypervisors other than libvirt's, whose Nova answers 501 as well.

Source: nova/api/openstack/compute/hosts.py.
"""

from __future__ import annotations

from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.versions import only_until
from deuteron.model.errors import NotFound
from deuteron.rules.compute import aggregates, hosts, loads
from deuteron.rules.compute.faults import not_built
from deuteron.rules.compute.hosts import COMPUTE, CONTROL, CONTROLLER
from deuteron.rules.compute.loads import Load
from deuteron.rules.placement.hosts import RESERVED_MIB
from deuteron.store.database import Tx

_LAST: Final = 42
_INTERNAL: Final = "internal"


def list_all(call: Call, tx: Tx) -> Reply:
    """Every service that is not disabled, in the zone that the query names or in all."""
    only_until(call, _LAST)
    access.require(call, "os-hosts:list")
    shown = [{"host_name": CONTROLLER, "service": name.removeprefix("nova-"), "zone": _INTERNAL} for name in CONTROL]
    shown += [
        {"host_name": host.name, "service": COMPUTE.removeprefix("nova-"), "zone": aggregates.zone_of(tx, host.name)}
        for host in hosts.listed(tx, call.settings)
        if COMPUTE not in host.disabled_services
    ]
    zone = call.get("zone")
    return Reply(200, {"hosts": [each for each in shown if not zone or each["zone"] == zone]})


def show(call: Call, tx: Tx) -> Reply:
    """What a host has, what is taken of it, and by which projects. Raises: NotFound."""
    only_until(call, _LAST)
    access.require(call, "os-hosts:show")
    name = call.params["id"]
    host = next(iter(hosts.listed(tx, call.settings, name=name)), None)
    if host is None or host.hello is None:
        raise NotFound(f"Compute host {name} could not be found.", type="ComputeHostNotFound")
    used = loads.loads(tx).get(host.id, Load())
    rows = [
        ("(total)", host.hello.vcpus, host.hello.memory_mib, host.hello.disk_gib),
        ("(used_now)", used.vcpus, RESERVED_MIB + used.memory_mib, used.disk_gib),
    ]
    by_project = loads.of_projects_on(tx, name)
    every = by_project.values()
    rows.append(("(used_max)", *(sum(amounts) for amounts in zip(*every, strict=True))) if every else _NOTHING)
    rows += [(project_id, *amounts) for project_id, amounts in by_project.items()]
    return Reply(200, {"host": [{"resource": _resource(name, *row)} for row in rows]})


def refuse(call: Call, tx: Tx) -> Reply:
    """PUT, and the paths of power."""
    only_until(call, _LAST)
    access.require(call, f"os-hosts:{_RULES.get(call.path.rsplit('/', 1)[1], 'update')}")
    raise not_built("Changing a host here", "Use PUT /os-services to disable its service or force it down.")


_NOTHING: Final = ("(used_max)", 0, 0, 0)
_RULES: Final = {"startup": "start", "shutdown": "shutdown", "reboot": "reboot"}


def _resource(host: str, project: str, cpu: int, memory_mb: int, disk_gb: int) -> dict[str, Any]:
    return {"host": host, "project": project, "cpu": cpu, "memory_mb": memory_mb, "disk_gb": disk_gb}
