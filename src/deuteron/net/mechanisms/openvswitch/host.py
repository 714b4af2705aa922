"""The half of the `openvswitch` mechanism that runs on a host; entry point of `deuteron.mechanisms.host`."""

from __future__ import annotations

import msgspec

from deuteron.model.intent import HostSettings, Plug, ServerPort
from deuteron.net.mechanisms.openvswitch import tables
from deuteron.net.mechanisms.wiring import Drivers, Kernel, OwnTable
from deuteron.net.plan import names, plan_openvswitch
from deuteron.net.plan.draft import Draft, Site


class OpenVSwitchHost(msgspec.Struct, frozen=True):
    """The switch of a host: bridges, flows and ports, and a tap or a bridge for each guest's card."""

    @property
    def name(self) -> str:
        return "openvswitch"

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        return tables.TABLES

    def plan(self, site: Site, draft: Draft) -> None:
        plan_openvswitch(site, draft)

    def plug(self, port: ServerPort, settings: HostSettings) -> Plug:
        """A tap of the agent on the switch; with `iptables_hybrid` a bridge that libvirt puts its own tap on."""
        is_hybrid = settings.firewall_driver == "iptables_hybrid"
        return Plug(
            device=names.tap_name(port.port_id),
            bridge=names.qbr_name(port.port_id) if is_hybrid else None,
            # The switch in user space reads taps through a packet socket, which does no checksums for the guest.
            offloads=settings.datapath_type != "netdev",
        )

    def open_drivers(self, kernel: Kernel) -> Drivers:
        return tables.open_drivers(kernel)


def openvswitch() -> OpenVSwitchHost:
    """The half of the mechanism that runs on a host."""
    return OpenVSwitchHost()
