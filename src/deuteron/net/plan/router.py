"""Routers: a namespace `qrouter-<router>` with a `qr-` port for each interface, one `qg-` port, and NAT.

A distributed router is two (`net.plan.distributed`): one without a gateway wherever its networks are, and one for the
way outside, `snat-<router>` with `sg-` ports in place of interfaces, on the host that has the gateway. The first
translates the floating IPs of its host's ports by a device `rfp-` in place of `qg-` (`net.plan.floating`).

The iptables rules are those of Neutron's L3 agent, in the form iptables-save prints them. A packet's way through nat:

    in   PREROUTING   metadata: REDIRECT to 9697;  floating IP: DNAT to the fixed IP
                      fip-pf ──> pf-<forwarding>: DNAT of single ports (`net.plan.forwarding`)
    out  POSTROUTING  not leaving by qg- and not DNATed: ACCEPT (no NAT between interfaces)
                      float-snat: fixed IP becomes its floating IP;  snat: everything else becomes the gateway address

Source: openstack/neutron, neutron/agent/l3/router_info.py, neutron/agent/metadata/driver.py and
neutron/agent/linux/ra.py (radvd).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from deuteron.model.intent import IntentRouter, RouterFloating, RouterHa, RouterPort
from deuteron.net import rows
from deuteron.net.plan import distributed, floating, ha, names
from deuteron.net.plan.addresses import link_local, version
from deuteron.net.plan.cloud_ports import plug_in
from deuteron.net.plan.conntrack import HELPERS, helper_chains
from deuteron.net.plan.draft import NO_DAD, Draft, Phase, Site, View
from deuteron.net.plan.forwarding import FORWARDING, forwarding_chains, tracked
from deuteron.net.plan.metadata import (
    MARK,
    METADATA_CIDR,
    METADATA_CIDR6,
    METADATA_IP,
    ROUTER_PORT,
    is_asked_over_ipv6,
    router_listener,
    router_listener6,
)
from deuteron.net.plan.metering import HOOK, metering_chains
from deuteron.net.plan.ndp import NDP, proxy_jumps, proxy_rules
from deuteron.net.plan.radvd import radvd_interface
from deuteron.net.plan.scopes import RESTORE, SAVE, RouterScopes

_PREFIX = "neutron-l3-agent-"
_FROM_OUTSIDE = "0x2/0xffff"

_SYSCTLS = (
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.all.arp_ignore", "1"),
    ("net.ipv4.conf.all.arp_announce", "2"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    *NO_DAD,
)

_SYSCTLS_DOWN = (
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv6.conf.all.forwarding", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    *NO_DAD,
)

_Rules = dict[str, list[str]]
_Table = Literal["filter", "nat", "mangle", "raw"]


def plan_routers(site: Site, draft: Draft) -> None:
    """Adds every router. One that is down is a namespace whose ports are plugged in and carry nothing.

    So its ports are ACTIVE, as they are with OVN: clients wait for that before they take an interface away again,
    whatever the router's state (tempest/api/network/base.py, `remove_router_interface`). Neutron's L3 agent has nothing
    of such a router, and its ports stay DOWN.
    """
    for router_id in sorted(site.intent.routers):
        draft.part(site, Phase.ROUTER, router_id, _plan_router)


def _plan_router(view: View, draft: Draft, router_id: str) -> None:
    router = view.router(router_id)
    if router is None:
        return
    for plan in _planned(view, router):
        if router.admin_state_up:
            plan.add(draft)
        else:
            plan.add_down(draft)


def _planned(view: View, router: IntentRouter) -> Iterator[_Router]:
    """The routers that one is on this host."""
    if router.distributed is None:
        yield _Router(view, router, names.router_namespace(router.id))
        return
    if router.distributed.is_local:
        local = distributed.inside(router)
        how = router.distributed.floating
        if how is not None and floating.is_there(view, how):
            local = floating.with_floating(router, local)
        yield _Router(view, local, names.router_namespace(router.id))
    if router.distributed.is_central and router.gateway is not None:
        central = distributed.outside(router)
        yield _Router(view, central, names.snat_namespace(router.id), names.sg_name, is_gateway=False)


class _Router:
    """One router, while its rows are being written."""

    def __init__(
        self,
        view: View,
        router: IntentRouter,
        namespace: str,
        name_of: Callable[[str], str] = names.qr_name,
        *,
        is_gateway: bool = True,
    ) -> None:
        """Its interfaces are called `name_of`; without `is_gateway` guests have another for their gateway."""
        self.view = view
        self.router = router
        self.namespace = namespace
        self.name_of = name_of
        self.is_gateway = is_gateway
        self.interfaces = sorted(router.interfaces, key=lambda port: port.port_id)
        self.gateway = router.gateway
        self.qg = None if router.gateway is None else names.qg_name(router.gateway.port.port_id)
        self.floating: RouterFloating | None = None
        if router.gateway is not None and router.distributed is not None and is_gateway:
            # Its way outside is for floating IPs alone.
            self.floating, self.qg = router.distributed.floating, names.rfp_name(router.id)
        self.scopes = RouterScopes(self._ports(), router.gateway, self.qg)
        self.by = None if router.ha is None else ha.BY
        self.is_active = router.ha is None or router.ha.is_active
        self.addresses: list[rows.Address] = []
        self.routes: list[rows.Route] = []
        """Of this router, beside those of its port for signs of life."""
        self.gateway_ip4 = next(
            (address.split("/")[0] for address in self._gateway_addresses() if version(address) == 4), None
        )

    def add(self, draft: Draft) -> None:
        draft.namespaces.append(rows.Namespace(self.namespace))
        draft.links.append(rows.Link(namespace=self.namespace, name="lo", kind="existing"))
        draft.sysctl(self.namespace, _SYSCTLS)
        if self.router.ha is not None:
            draft.sysctl(self.namespace, ha.SYSCTLS)
        for interface in self.interfaces:
            self._add_port(draft, interface, self.name_of(interface.port_id))
        if self.is_active and self.is_gateway:
            self._add_metadata6(draft)
        if self.floating is not None:
            floating.plan_way_out(draft, self.router.id, self.floating)
        elif self.gateway is not None and self.qg is not None:
            self._add_port(draft, self.gateway.port, self.qg)
            self._add_gateway(draft, self.qg)
            self._add_proxies(draft, self.qg)
        self._add_routes()
        draft.addresses.extend(self.addresses)
        draft.routes.extend(self.routes)
        if self.router.ha is not None:
            self._add_election(draft, self.router.ha)
        draft.iptables.extend(self._tables4())
        draft.iptables.extend(self._tables6())
        draft.connections.append(self._connections())
        if self.router.distributed is not None and self.is_gateway:
            distributed.plan_ways_outside(draft, self.router, self.router.distributed)
        if not self.is_active or not self.is_gateway:
            return
        draft.metadata.append(router_listener(self.namespace, self.router.id))
        advertising = [interface for interface in self.interfaces if interface.ra_subnets]
        if advertising:
            draft.radvds.append(
                rows.Radvd(
                    namespace=self.namespace,
                    id=self.router.id,
                    directory=f"{self.view.settings.state_dir}/ra/{self.router.id}",
                    config="".join(radvd_interface(interface) for interface in advertising),
                )
            )

    def add_down(self, draft: Draft) -> None:
        """No address, no route, no service, and no packet in or out."""
        draft.namespaces.append(rows.Namespace(self.namespace))
        draft.links.append(rows.Link(namespace=self.namespace, name="lo", kind="existing"))
        draft.sysctl(self.namespace, _SYSCTLS_DOWN)
        for router_port, name in self._ports():
            if self.floating is None or name != self.qg:
                self._add_device(draft, router_port, name, carries=False)
        if self.router.ha is not None:
            port = self.router.ha.port
            self._add_device(draft, port, names.ha_name(port.port_id), carries=False)

    def _floating(self) -> list[str]:
        """Addresses of floating IPs, that of several forwardings once."""
        translated = (item.floating_ip_address for item in self.router.floating_ips)
        forwarded = (item.floating_ip_address for item in self.router.port_forwardings)
        return list(dict.fromkeys((*translated, *forwarded)))

    def _gateway_addresses(self) -> tuple[str, ...]:
        return () if self.gateway is None else self.gateway.port.addresses

    def _add_port(self, draft: Draft, router_port: RouterPort, name: str) -> None:
        if self._add_device(draft, router_port, name):
            for address in router_port.addresses:
                self._address(name, address)
            if self.router.ha is not None:
                self._address(name, f"{link_local(router_port.mac_address)}/64")

    def _add_election(self, draft: Draft, election: RouterHa) -> None:
        name = names.ha_name(election.port.port_id)
        if not self._add_device(draft, election.port, name):
            return
        for address in election.port.addresses:
            draft.addresses.append(rows.Address(self.namespace, name, address))
        state_dir = self.view.settings.state_dir
        row = ha.keepalived(self.router.id, self.namespace, state_dir, election, name, self.addresses, self.routes)
        draft.addresses.append(rows.Address(self.namespace, name, row.address, self.by))
        draft.keepaliveds.append(row)

    def _address(self, link: str, interface: str) -> None:
        self.addresses.append(rows.Address(self.namespace, link, interface, self.by))

    def _route(self, destination: str, via: str | None, link: str | None) -> None:
        self.routes.append(rows.Route(self.namespace, destination, via, link, self.by))

    def _add_device(self, draft: Draft, router_port: RouterPort, name: str, *, carries: bool = True) -> bool:
        """A port that is not bound here yet, or whose network was not sent, gets no device; the rest works."""
        port = self.view.port(router_port.port_id)
        network = self.view.network(router_port.network_id)
        if port is None or port.ofport is None or network is None:
            return False
        settings, mtu = self.view.settings, router_port.mtu_bytes
        plug_in(settings, draft, port, network, name, self.namespace, mtu, carries=carries)
        return True

    def _add_metadata6(self, draft: Draft) -> None:
        """The metadata service's IPv6 address on one interface of each network, and listeners on all of them."""
        served: set[str] = set()
        # The one with IPv6 addresses first: it sends the router advertisements.
        for interface in sorted(self.interfaces, key=lambda port: all(version(text) == 4 for text in port.addresses)):
            network = self.view.network(interface.network_id)
            if network is None or not is_asked_over_ipv6(network) or self.view.bound_ofport(interface.port_id) is None:
                continue
            name = names.qr_name(interface.port_id)
            if network.id not in served:
                self._address(name, METADATA_CIDR6)
                served.add(network.id)
            draft.metadata.append(router_listener6(self.namespace, self.router.id, network.whole_id, name))

    def _add_gateway(self, draft: Draft, qg: str) -> None:
        assert self.gateway is not None
        if self.view.bound_ofport(self.gateway.port.port_id) is None:
            return
        for address in self._floating():
            self._address(qg, f"{address}/32")
        networks = [ipaddress.ip_interface(address).network for address in self.gateway.port.addresses]
        for gateway_ip in self.gateway.gateway_ips:
            hop = ipaddress.ip_address(gateway_ip)
            is_four = hop.version == 4
            if not hop.is_link_local and not any(hop in network for network in networks):
                self._route(f"{gateway_ip}/{hop.max_prefixlen}", None, qg)
            self._route("0.0.0.0/0" if is_four else "::/0", gateway_ip, qg)
        if not any(version(gateway_ip) == 6 for gateway_ip in self.gateway.gateway_ips):
            # Without an IPv6 gateway from the API, the provider's router may advertise one (2: although we forward).
            draft.sysctl(self.namespace, [(f"net.ipv6.conf.{qg}.accept_ra", "2")])

    def _add_proxies(self, draft: Draft, qg: str) -> None:
        assert self.gateway is not None
        if self.router.ndp is None or self.view.bound_ofport(self.gateway.port.port_id) is None:
            return
        draft.sysctl(self.namespace, [(f"net.ipv6.conf.{qg}.proxy_ndp", "1")])
        for address in self.router.ndp.addresses:
            draft.neighbours.append(rows.ProxyNeighbour(self.namespace, qg, address))

    def _add_routes(self) -> None:
        """The router's own static routes; one to everywhere replaces the gateway's, as in Neutron."""
        reachable = [
            (ipaddress.ip_interface(address).network, name)
            for router_port, name in self._ports()
            for address in router_port.addresses
        ]
        for route in self.router.routes:
            nexthop = ipaddress.ip_address(route.nexthop)
            link = next((name for network, name in reachable if nexthop in network), None)
            self._route(route.destination, route.nexthop, link)

    def _connections(self) -> rows.Connections:
        """What the NAT rules below come down to, for the connections that began under others."""
        own: list[str] = self._floating()
        inside: list[str] = []
        outside: list[str] = []
        attached: list[tuple[ipaddress.IPv4Network, bool, int]] = []
        scopes: list[tuple[str, int]] = []
        for router_port, name in self._ports():
            for address in router_port.addresses:
                if version(address) == 4:
                    interface = ipaddress.IPv4Interface(address)
                    own.append(str(interface.ip))
                    is_inside = name != self.qg
                    attached.append((interface.network, is_inside, router_port.scopes[0]))
                    (inside if is_inside else outside).append(str(interface.network))
                    if is_inside:
                        scopes.append((str(interface.network), router_port.scopes[0]))
        for route in self.router.routes:
            if version(route.destination) == 4:
                nexthop = ipaddress.IPv4Address(route.nexthop)
                # One through a next hop that no network has is not in the kernel; it reaches nothing.
                by = next(((side, scope) for network, side, scope in attached if nexthop in network), None)
                if by is not None:
                    (inside if by[0] else outside).append(route.destination)
                    if by[0]:
                        scopes.append((route.destination, by[1]))
        return rows.Connections(
            namespace=self.namespace,
            inside=tuple(sorted(inside)),
            outside=tuple(sorted(outside)),
            own=tuple(sorted(own)),
            floating=tuple(
                sorted((item.floating_ip_address, item.fixed_ip_address) for item in self.router.floating_ips)
            ),
            forwarded=tracked(self.router.port_forwardings),
            gateway=self.gateway_ip4,
            snat=self.gateway is not None and self.gateway.enable_snat,
            redirected=(METADATA_IP,),
            scopes=tuple(sorted(scopes)),
            outside_scope=self.scopes.outside,
        )

    def _ports(self) -> list[tuple[RouterPort, str]]:
        ports = [(interface, self.name_of(interface.port_id)) for interface in self.interfaces]
        if self.gateway is not None and self.qg is not None:
            ports.append((self.gateway.port, self.qg))
        return ports

    def _tables4(self) -> Iterable[rows.IptablesTable]:
        yield self._mangle4()
        yield self._raw(4)
        yield self._filter(4)
        yield self._nat4()

    def _mangle4(self) -> rows.IptablesTable:
        outside = [self.qg] if self.qg is not None else []
        forward, floating, float_snat = self.scopes.crossing(self.router.floating_ips, f"{_PREFIX}float-snat")
        return self._table(
            4,
            "mangle",
            {
                "FORWARD": forward,
                "INPUT": [],
                "OUTPUT": [],
                "POSTROUTING": [f"-o {qg} {SAVE}" for qg in outside if self.scopes.has_snat],
                "PREROUTING": [
                    f"-j {_PREFIX}mark",
                    f"-j {_PREFIX}scope",
                    RESTORE,
                    f"-j {_PREFIX}floatingip",
                    f"-d {METADATA_CIDR} -i qr-+ -p tcp -m tcp --dport 80 -j MARK --set-xmark {MARK}",
                ],
                "float-snat": [*(SAVE for _ in outside), *float_snat],
                "floatingip": floating,
                "mark": [f"-i {qg} -j MARK --set-xmark {_FROM_OUTSIDE}" for qg in outside],
                "scope": self.scopes.marking(4),
            },
            ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
        )

    def _nat4(self) -> rows.IptablesTable:
        output: list[str] = []
        prerouting = [
            f"-d {METADATA_CIDR} -i qr-+ -p tcp -m tcp --dport 80 -j REDIRECT --to-ports {ROUTER_PORT}",
        ]
        float_snat: list[str] = []
        floating_ips = sorted(
            self.router.floating_ips, key=lambda item: int(ipaddress.ip_address(item.floating_ip_address))
        )
        came_by = "" if self.floating is None else f" -i {self.qg}"
        for item in floating_ips:
            dnat = f"-d {item.floating_ip_address}/32{came_by} -j DNAT --to-destination {item.fixed_ip_address}"
            if not came_by:
                output.append(dnat)
            prerouting.append(dnat)
            float_snat.append(
                f"-s {item.fixed_ip_address}/32 -j SNAT --to-source {item.floating_ip_address} --random-fully"
            )
        forwarding = forwarding_chains(self.router.port_forwardings, _PREFIX)
        if forwarding:
            prerouting.append(f"-j {_PREFIX}{FORWARDING}")
        postrouting: list[str] = []
        snat = [f"-j {_PREFIX}float-snat"]
        if self.gateway is not None and self.gateway_ip4 is not None:
            postrouting.append(f"! -o {self.qg} -m conntrack ! --ctstate DNAT -j ACCEPT")
        if self.gateway is not None and self.gateway_ip4 is not None and self.floating is None:
            to_source = f"-j SNAT --to-source {self.gateway_ip4} --random-fully"
            snat.extend(self.scopes.untranslated())
            if self.gateway.enable_snat:
                snat.append(f"-o {self.qg} {to_source}")
            # A guest that reaches a neighbour by its floating IP must see the answer come back through the router.
            snat.append(f"-m mark ! --mark {_FROM_OUTSIDE} -m conntrack --ctstate DNAT {to_source}")
        bottom = '-m comment --comment "Perform source NAT on outgoing traffic." ' + f"-j {_PREFIX}snat"
        return self._table(
            4,
            "nat",
            {
                "OUTPUT": output,
                "POSTROUTING": postrouting,
                "PREROUTING": prerouting,
                "float-snat": float_snat,
                "snat": snat,
                **forwarding,
            },
            ["PREROUTING", "OUTPUT", "POSTROUTING"],
            wrapped_by={"neutron-postrouting-bottom": [bottom]},
            builtin_last=[("POSTROUTING", "-j neutron-postrouting-bottom")],
        )

    def _filter(self, family: Literal[4, 6]) -> rows.IptablesTable:
        top = "-j neutron-filter-top"
        forward, proxying = [f"-j {_PREFIX}scope"], {}
        if family == 6 and self.router.ndp is not None and self.qg is not None:
            proxying = {NDP: proxy_rules(self.router.ndp, self.qg)}
            forward += proxy_jumps(self.router.ndp, self.qg, _PREFIX)
        counting = metering_chains(self.router.metering_labels, self.qg, family)
        return self._table(
            family,
            "filter",
            {
                "FORWARD": forward,
                "INPUT": [
                    f"-m mark --mark {MARK} -j ACCEPT",
                    f"-p tcp -m tcp --dport {ROUTER_PORT} -j DROP",
                ],
                "OUTPUT": [],
                "local": [],
                "scope": self.scopes.dropping(family),
                **proxying,
            },
            ["INPUT", "FORWARD", "OUTPUT"],
            wrapped_by={"neutron-filter-top": [f"-j {_PREFIX}local"], **counting},
            builtin_first={"FORWARD": top, "OUTPUT": top},
            builtin_last=[("FORWARD", f"-j {HOOK}")] if counting else None,
        )

    def _raw(self, family: Literal[4, 6]) -> rows.IptablesTable:
        helping = helper_chains(self.router.conntrack_helpers, _PREFIX, family)
        prerouting = [f"-j {_PREFIX}{HELPERS}"] if helping else []
        return self._table(family, "raw", {"OUTPUT": [], "PREROUTING": prerouting, **helping}, ["PREROUTING", "OUTPUT"])

    def _tables6(self) -> Iterable[rows.IptablesTable]:
        yield self._table(
            6,
            "mangle",
            {
                "FORWARD": [],
                "INPUT": [],
                "OUTPUT": [],
                "POSTROUTING": [],
                "PREROUTING": [
                    f"-j {_PREFIX}scope",
                    RESTORE,
                    f"-d {METADATA_CIDR6} -i qr-+ -p tcp -m tcp --dport 80 -j MARK --set-xmark {MARK}",
                ],
                "scope": self.scopes.marking(6),
            },
            ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
        )
        yield self._raw(6)
        yield self._filter(6)
        redirect = f"-d {METADATA_CIDR6} -i qr-+ -p tcp -m tcp --dport 80 -j REDIRECT --to-ports {ROUTER_PORT}"
        yield self._table(6, "nat", {"PREROUTING": [redirect]}, ["PREROUTING"])

    def _table(
        self,
        family: Literal[4, 6],
        table: _Table,
        chains: _Rules,
        hooks: list[str],
        *,
        wrapped_by: _Rules | None = None,
        builtin_first: dict[str, str] | None = None,
        builtin_last: list[tuple[str, str]] | None = None,
    ) -> rows.IptablesTable:
        """A table of `chains` (named with the agent's prefix) and `wrapped_by` (named as they are), and their jumps."""
        named = {_PREFIX + name: rules for name, rules in chains.items()} | (wrapped_by or {})
        builtin: list[tuple[str, str]] = []
        for hook in hooks:
            if builtin_first and hook in builtin_first:
                builtin.append((hook, builtin_first[hook]))
            builtin.append((hook, f"-j {_PREFIX}{hook}"))
        return rows.IptablesTable(
            namespace=self.namespace,
            family=family,
            table=table,
            chains=tuple(rows.IptablesChain(name, tuple(named[name])) for name in sorted(named)),
            builtin=(*builtin, *(builtin_last or ())),
        )
