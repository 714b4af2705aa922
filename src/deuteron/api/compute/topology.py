"""GET /servers/{id}/topology, since 2.78: the NUMA nodes that a server's guest has.

Guests here share processors, so that none is pinned and none has siblings; a host is one node, the first.

Source: nova/api/openstack/compute/server_topology.py.
"""

from __future__ import annotations

from typing import Any

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.versions import only_from
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import image_properties, numa, placement
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.numa import Topology
from deuteron.store.database import Tx


def show(call: Call, tx: Tx) -> Reply:
    """Raises: NotFound before 2.78."""
    only_from(call, 78)
    row = access.server_for(call, tx, f"{access.TOPOLOGY}:index")
    found = _topology(row)
    if found is None:
        return Reply(200, {"nodes": [], "pagesize_kb": None})
    of_host = access.allowed(call, f"{access.TOPOLOGY}:host:index", project_id=row.project_id)
    nodes: list[dict[str, Any]] = []
    for number, cell in enumerate(found.cells):
        shown = {"vcpu_set": list(cell.cpus), "siblings": [], "memory_mb": cell.memory_mib}
        nodes.append({**shown, "host_node": number, "cpu_pinning": {}} if of_host else shown)
    return Reply(200, {"nodes": nodes, "pagesize_kb": found.page_kib})


def _topology(row: ServerRow) -> Topology | None:
    """None too for a server that was there before anybody looked at what its flavor and image say."""
    flavor = msgspec.convert(row.flavor, Flavor)
    try:
        image = image_properties.checked(placement.image_of(row))
        return numa.topology(flavor, image, is_placed=row.host is not None)
    except BadRequest:
        return None
