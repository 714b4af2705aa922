"""The half that runs on a host: which rows a port consists of, and what a guest is plugged into."""

from __future__ import annotations

import msgspec

from deuteron.model.intent import HostSettings, IntentNetwork, IntentPort, Plug, ServerPort
from deuteron.net import rows
from deuteron.net.mechanisms.wiring import Drivers, Kernel, OwnTable
from deuteron.net.plan.draft import Draft, Site
from deuteron_plainbridge.guard import TABLE, GuardDriver, GuestTap

FIRST_OFPORT = 16
"""On a physical bridge the interface is 1 and the patch is 2; the local tag of a network is its own on a host."""


class PlainBridgeHost(msgspec.Struct, frozen=True):
    @property
    def name(self) -> str:
        return "plainbridge"

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        return (
            OwnTable(
                TABLE,
                before="device",  # no tap without its guard
                rows=lambda plan: plan.own.get(TABLE, ()),
                words=lambda row: f"guard of {row.device}",
                concerns=lambda row: [f"port:{row.device[3:]}"],
                is_late=True,  # and no guard goes before its tap
            ),
        )

    def plan(self, site: Site, draft: Draft) -> None:
        networks: dict[str, IntentNetwork] = {}
        for port, network in site.ports_wired_by(self.name):
            networks[network.id] = network
            _plan_port(draft, port, network)
        for network in networks.values():
            _plan_bridge(site, draft, network)

    def plug(self, port: ServerPort, settings: HostSettings) -> Plug:
        return Plug(tap_name(port.port_id), offloads=settings.datapath_type != "netdev")

    def open_drivers(self, kernel: Kernel) -> Drivers:
        return Drivers({TABLE: GuardDriver()})


def tap_name(port_id: str) -> str:
    return f"tap{port_id[:11]}"


def bridge_name(network_id: str) -> str:
    return f"pbr{network_id[:11]}"


def _plan_port(draft: Draft, port: IntentPort, network: IntentNetwork) -> None:
    tap = tap_name(port.id)
    draft.own(TABLE, GuestTap(tap))
    draft.links.append(
        rows.Link(
            rows.HOST,
            tap,
            "tap",
            # The guest has the port's MAC; the host's end must differ.
            mac="fe" + port.mac_address[2:],
            mtu_bytes=network.mtu_bytes,
            up=port.admin_state_up,
            master=bridge_name(network.id),
        )
    )


def _plan_bridge(site: Site, draft: Draft, network: IntentNetwork) -> None:
    physical = site.bridge_of(network)
    if physical is None:
        return  # the mapping went after the port was bound: its tap waits for a bridge
    bridge = bridge_name(network.id)
    inner, outer = f"pbv{network.id[:11]}", f"pbo{network.id[:11]}"
    mtu = network.mtu_bytes
    draft.links.append(rows.Link(rows.HOST, bridge, "bridge", mtu_bytes=mtu))
    draft.links.append(rows.Link(rows.HOST, inner, "veth", mtu_bytes=mtu, master=bridge, peer=outer))
    draft.links.append(rows.Link(rows.HOST, outer, "existing", mtu_bytes=mtu))
    draft.ovs_ports.append(
        rows.OvsPort(
            bridge=physical,
            name=outer,
            type="system",
            ofport_request=FIRST_OFPORT + network.local_vlan,
            tag=network.segmentation_id if network.network_type == "vlan" else None,
            external_ids=(("deuteron-id", network.id),),
        )
    )
    # The host itself takes no part in the network.
    for device in (bridge, outer):
        draft.sysctl(
            rows.HOST,
            [
                (f"net.ipv4.conf.{device}.arp_ignore", "8"),
                (f"net.ipv4.conf.{device}.rp_filter", "1"),
                (f"net.ipv6.conf.{device}.disable_ipv6", "1"),
            ],
        )
    draft.sysctl(rows.HOST, [(f"net.ipv6.conf.{inner}.disable_ipv6", "1")])


def plainbridge() -> PlainBridgeHost:
    return PlainBridgeHost()
