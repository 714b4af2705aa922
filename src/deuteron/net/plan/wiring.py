"""How instances hang on br-int, and how br-int knows a port of the cloud.

With `openvswitch`, the agent makes a persistent tap and QEMU opens it:

    guest ── tapXXXXXXXX-XX ── br-int

With `iptables_hybrid`, a Linux bridge stands between, so that iptables sees the frames (libvirt makes the tap):

    guest ── tapXXXXXXXX-XX ── qbr ── qvb ═ qvo ── br-int

Ports of a trunk share the device of its parent, on a bridge between (`trunks`).

The host's own network stack must not take part on these devices: the userspace datapath reads them beside the
kernel, which would otherwise answer ARP for the host's addresses and accept packets to them. So IPv6 is off, ARP is not
answered (arp_ignore 8) and every IPv4 source is refused (strict reverse path filtering, with no route there).
"""

from __future__ import annotations

from deuteron.model.intent import IntentNetwork, IntentPort
from deuteron.net import rows
from deuteron.net.pipeline import ACCEPT_OR_INGRESS, ACCEPTED_EGRESS_NORMAL, DEAD_VLAN, TRANSIENT
from deuteron.net.plan import names, trunks
from deuteron.net.plan.bridges import INTEGRATION
from deuteron.net.plan.draft import Draft, Phase, Site, View, is_dead, ovs_port_facts


def plan_instance_ports(site: Site, draft: Draft) -> None:
    """Adds the devices of every instance port bound here, and closes those that are down."""
    for port, _ in site.instance_ports:
        draft.part(site, Phase.WIRING, port.id, _plan_port)


def _plan_port(view: View, draft: Draft, port_id: str) -> None:
    port = view.port(port_id)
    network = None if port is None else view.network(port.network_id)
    if port is None or port.ofport is None or network is None:
        return
    if trunks.is_apart(view, port):
        return
    external_ids, other_config = ovs_port_facts(port, network)
    name = _devices(view, draft, port, network, external_ids)
    peer = _trunk_side(port, name)
    draft.ovs_ports.append(
        rows.OvsPort(
            bridge=INTEGRATION,
            name=name,
            type="system" if peer is None else "patch",
            ofport_request=port.ofport,
            tag=DEAD_VLAN if is_dead(port) else network.local_vlan,
            options=() if peer is None else (("peer", peer),),
            external_ids=external_ids,
            other_config=other_config,
        )
    )
    if is_dead(port):
        refuse_port(draft, port.ofport)


def _devices(
    view: View, draft: Draft, port: IntentPort, network: IntentNetwork, external_ids: trunks.ExternalIds
) -> str:
    """Adds what lies between the guest and br-int; the name of the port of br-int."""
    is_hybrid = view.settings.firewall_driver == "iptables_hybrid"
    trunk = port.trunk
    if trunk is not None and trunk.segmentation_id:
        if not is_hybrid:
            return trunks.plan_subport(draft, port, trunk, external_ids)
        keep_host_out(draft, trunks.plan_hybrid_subport(draft, port, trunk, network.mtu_bytes, external_ids))
    device = _hybrid_devices(draft, port, network) if is_hybrid else _native_devices(draft, port, network)
    if trunk is None or trunk.segmentation_id:
        return device
    return trunks.plan_parent(view, draft, port.id, trunk, device, external_ids)


def _trunk_side(port: IntentPort, name: str) -> str | None:
    """The other end of a port of br-int that is patched to a trunk bridge."""
    if port.trunk is None:
        return None
    is_parent = port.trunk.segmentation_id == 0
    is_patch = name == names.integration_side(port.id, is_parent=is_parent)
    return names.trunk_side(port.id, is_parent=is_parent) if is_patch else None


def trust_port(draft: Draft, ofport: int, local_vlan: int) -> None:
    """Lets a port send and receive unfiltered in its network: DHCP, routers, and ports without port security."""
    draft.flow(
        INTEGRATION,
        TRANSIENT,
        100,
        f"in_port={ofport}",
        f"set_field:{ofport:#x}->reg5,set_field:{local_vlan:#x}->reg6,resubmit(,{ACCEPT_OR_INGRESS})",
    )
    draft.flow(INTEGRATION, ACCEPT_OR_INGRESS, 80, f"reg5={ofport:#x}", f"resubmit(,{ACCEPTED_EGRESS_NORMAL})")


def refuse_port(draft: Draft, ofport: int) -> None:
    """Says in so many words that a port is down; without it table 60 would drop its frames all the same."""
    draft.flow(INTEGRATION, 0, 2, f"in_port={ofport}", "drop")


def _native_devices(draft: Draft, port: IntentPort, network: IntentNetwork) -> str:
    return add_tap(draft, port, network.mtu_bytes)


def add_tap(draft: Draft, port: IntentPort, mtu_bytes: int, master: str | None = None, *, is_up: bool = True) -> str:
    """Adds the tap of a port, on a bridge with `master`; its name."""
    tap = names.tap_name(port.id)
    # The guest has the port's MAC; the host's end must differ, and libvirt's habit is the first byte fe.
    mac = "fe" + port.mac_address[2:]
    draft.links.append(rows.Link(rows.HOST, tap, kind="tap", mac=mac, mtu_bytes=mtu_bytes, up=is_up, master=master))
    keep_host_out(draft, tap)
    return tap


def _hybrid_devices(draft: Draft, port: IntentPort, network: IntentNetwork) -> str:
    qbr, qvb, qvo = names.qbr_name(port.id), names.qvb_name(port.id), names.qvo_name(port.id)
    mtu = network.mtu_bytes
    draft.links.append(rows.Link(namespace=rows.HOST, name=qbr, kind="bridge", mtu_bytes=mtu))
    draft.links.append(rows.Link(namespace=rows.HOST, name=qvb, kind="veth", mtu_bytes=mtu, master=qbr, peer=qvo))
    draft.links.append(rows.Link(namespace=rows.HOST, name=qvo, kind="existing", mtu_bytes=mtu))
    keep_host_out(draft, qbr)
    keep_host_out(draft, qvo)
    draft.sysctl(rows.HOST, [(f"net.ipv6.conf.{qvb}.disable_ipv6", "1")])
    return qvo


def keep_host_out(draft: Draft, device: str) -> None:
    """Keeps the host's own stack off a device that frames of guests come by."""
    name = device.replace(".", "/")  # as sysctl(8) has it: a dot would end the name
    draft.sysctl(
        rows.HOST,
        [
            (f"net.ipv4.conf.{name}.arp_ignore", "8"),
            (f"net.ipv4.conf.{name}.rp_filter", "1"),
            (f"net.ipv6.conf.{name}.disable_ipv6", "1"),
        ],
    )
