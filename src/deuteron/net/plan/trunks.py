"""Trunks: one device of a guest for several ports, told apart by VLAN tags.

    guest ── tapXXXXXXXX-XX ── tbr-XXXXXXXX-X ─┬─ tpt- ═ tpi- ── br-int     the parent, without a tag
                                               └─ spt- ═ spi- ── br-int     a subport, by its tag

On br-int each is a port like any other, with its own number, local tag and groups. With `iptables_hybrid` the parent
has its Linux bridge before the trunk bridge, where iptables sees what has no tag; a subport has one of its own behind
it, and there its tag is gone:

    guest ── tap ── qbr ── qvb ═ qvo ── tbr-XXXXXXXX-X ─┬─ tpt- ═ tpi- ── br-int
                                                        └─ spt- ═ tap ── qbr ── qvb ═ qvo ── br-int

Numbers on a trunk bridge: the device is 1, the parent's patch 2, a subport has that which it has on br-int.

Source: openstack/neutron, neutron/services/trunk/drivers/openvswitch/agent/trunk_manager.py. Neutron's subports obey no
groups with `iptables_hybrid`.
"""

from __future__ import annotations

from typing import Literal

from deuteron.model.intent import IntentPort, PortTrunk
from deuteron.net import rows
from deuteron.net.pipeline import tables_of
from deuteron.net.plan import names
from deuteron.net.plan.draft import Draft, View

_DEVICE_OFPORT = 1
_PARENT_OFPORT = 2

ExternalIds = tuple[tuple[str, str], ...]


def is_apart(view: View, port: IntentPort) -> bool:
    """Whether the port is a subport of a trunk whose parent is not here: nothing can be plugged then."""
    trunk = port.trunk
    return trunk is not None and trunk.segmentation_id > 0 and view.port(trunk.parent_id) is None


def plan_parent(
    view: View, draft: Draft, port_id: str, trunk: PortTrunk, device: str, external_ids: ExternalIds
) -> str:
    """Adds the trunk's bridge with the guest's device and the parent's way to br-int; the name of its end there."""
    draft.bridges.append(rows.OvsBridge(name=trunk.bridge, datapath_type=view.settings.datapath_type))
    for table in tables_of("trunk"):
        for miss in table.misses:
            draft.flow(trunk.bridge, table.number, miss.priority, miss.match, miss.actions)
    draft.ovs_ports.append(_port(trunk.bridge, device, "system", _DEVICE_OFPORT, None, external_ids))
    return _patch(draft, port_id, trunk, _PARENT_OFPORT, external_ids)


def plan_subport(draft: Draft, port: IntentPort, trunk: PortTrunk, external_ids: ExternalIds) -> str:
    """Adds a subport's way from the trunk's bridge to br-int; the name of its end there."""
    return _patch(draft, port.id, trunk, port.ofport, external_ids)


def plan_hybrid_subport(
    draft: Draft, port: IntentPort, trunk: PortTrunk, mtu_bytes: int, external_ids: ExternalIds
) -> str:
    """Adds a subport's way from the trunk's bridge to its Linux bridge; the name of the device on the former."""
    outer, inner = names.trunk_side(port.id, is_parent=False), names.tap_name(port.id)
    veth = rows.Link(
        namespace=rows.HOST,
        name=inner,
        kind="veth",
        mtu_bytes=mtu_bytes,
        master=names.qbr_name(port.id),
        peer=outer,
    )
    draft.links += [veth, rows.Link(namespace=rows.HOST, name=outer, kind="existing", mtu_bytes=mtu_bytes)]
    tag = trunk.segmentation_id
    draft.ovs_ports.append(_port(trunk.bridge, outer, "system", port.ofport, tag, external_ids))
    return outer


def _patch(draft: Draft, port_id: str, trunk: PortTrunk, ofport: int, external_ids: ExternalIds) -> str:
    is_parent = trunk.segmentation_id == 0
    outer = names.trunk_side(port_id, is_parent=is_parent)
    inner = names.integration_side(port_id, is_parent=is_parent)
    peer = (("peer", inner),)
    draft.ovs_ports.append(_port(trunk.bridge, outer, "patch", ofport, trunk.segmentation_id, external_ids, peer))
    return inner


def _port(
    bridge: str,
    name: str,
    kind: Literal["patch", "system"],
    ofport: int,
    tag: int | None,
    external_ids: ExternalIds,
    options: tuple[tuple[str, str], ...] = (),
) -> rows.OvsPort:
    return rows.OvsPort(
        bridge=bridge,
        name=name,
        type=kind,
        ofport_request=ofport,
        tag=tag,
        options=options,
        external_ids=external_ids,
    )
