"""DHCP: a namespace `qdhcp-<network>` with the DHCP port and one dnsmasq for each network served here.

dnsmasq answers from files: `host` (which MAC gets which address), `addn_hosts` (names), `opts` (routers, DNS servers,
routes). A new port changes files only, so that dnsmasq re-reads them without a gap; a new subnet changes its arguments.

Three arguments differ from Neutron's on purpose. `--leasefile-ro`: addresses come from `host` alone, so no lease file
has to be rebuilt before a start. `--dhcp-authoritative`: a renewal after a restart is then confirmed, not refused
because dnsmasq has no record of the lease. `--user=root`: dnsmasq re-reads its files after it changed user, and the
state folder is private.

Source: openstack/neutron, neutron/agent/linux/dhcp.py; dnsmasq(8).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import msgspec

from deuteron.model.intent import FixedIp, IntentNetwork, IntentPort, IntentRemotePort, IntentSubnet
from deuteron.net import rows
from deuteron.net.plan import names
from deuteron.net.plan.addresses import version
from deuteron.net.plan.cloud_ports import dhcp_device, plug_in
from deuteron.net.plan.draft import NO_DAD, Draft, Phase, Site, View
from deuteron.net.plan.metadata import (
    METADATA_CIDR,
    METADATA_CIDR6,
    METADATA_IP,
    dhcp_listener,
    dhcp_listener6,
    is_asked_over_ipv6,
    is_isolated,
)

_LEASE_S = 86400
_MOST_LEASES = 2**24
_CLASSLESS_ROUTE_MICROSOFT = "249"
_EVERYWHERE = "0.0.0.0/0"
_CLIENT_ID = "client-id"
_ANNOUNCE_NO_DNS = {4: ("0.0.0.0",), 6: ("::",)}


def plan_dhcp(site: Site, draft: Draft) -> None:
    """Adds namespace, port and dnsmasq of each network that is up, has a subnet with DHCP, and is served here."""
    for network_id in sorted(site.intent.networks):
        if site.intent.networks[network_id].dhcp_port_id is not None:
            draft.part(site, Phase.DHCP, network_id, _plan_network)


def _plan_network(view: View, draft: Draft, network_id: str) -> None:
    network = view.network(network_id)
    if network is None or network.dhcp_port_id is None or not network.admin_state_up:
        return
    port = view.port(network.dhcp_port_id)
    if port is None:
        return
    subnets = [subnet for subnet in network.subnets if subnet.enable_dhcp]
    if subnets:
        _Service(view, network, port, subnets).add(draft)


class _Host(msgspec.Struct, frozen=True):
    """One address of one port, with its names."""

    port: IntentPort | IntentRemotePort
    subnet: IntentSubnet
    address: str
    hostname: str
    fqdn: str


class _Service:
    """DHCP of one network, while its rows are being written."""

    def __init__(self, view: View, network: IntentNetwork, port: IntentPort, subnets: list[IntentSubnet]) -> None:
        self.network = network
        self.port = port
        self.subnets = sorted(subnets, key=lambda subnet: (subnet.ip_version, subnet.cidr, subnet.id))
        # One whose guest is awaited here is both plugged in and elsewhere.
        there: list[IntentPort | IntentRemotePort] = [
            *view.remote_ports_of(network.whole_id),
            *view.ports_of(network.id),
        ]
        ports = {port.id: port for port in there}
        self.ports = [ports[id] for id in sorted(ports)]
        self.settings = view.settings
        self.namespace = names.dhcp_namespace(network.id)
        self.device = dhcp_device(view.settings, port.id)
        self.directory = f"{view.settings.state_dir}/dhcp/{network.id}"
        self.domain = network.dns_domain.rstrip(".")

    def add(self, draft: Draft) -> None:
        network = self.network
        draft.namespaces.append(rows.Namespace(self.namespace))
        draft.links.append(rows.Link(namespace=self.namespace, name="lo", kind="existing"))
        draft.sysctl(self.namespace, [("net.ipv6.conf.default.accept_ra", "0"), *NO_DAD])
        plug_in(self.settings, draft, self.port, network, self.device, self.namespace, network.mtu_bytes)
        self._add_addresses(draft)
        draft.dnsmasqs.append(
            rows.Dnsmasq(
                namespace=self.namespace,
                id=network.id,
                directory=self.directory,
                arguments=tuple(self._arguments()),
                files=(
                    ("addn_hosts", _text(self._addn_hosts())),
                    ("host", _text(self._dhcp_hosts())),
                    ("interface", self.device),
                    ("opts", _text([*self._subnet_options(), *self._port_options()])),
                ),
            )
        )

    def _add_addresses(self, draft: Draft) -> None:
        served = {subnet.id: subnet for subnet in self.subnets}
        for fixed_ip in self.port.fixed_ips:
            subnet = served.get(fixed_ip.subnet_id)
            if subnet is not None:
                length = ipaddress.ip_network(subnet.cidr).prefixlen
                draft.addresses.append(rows.Address(self.namespace, self.device, f"{fixed_ip.ip_address}/{length}"))
        for family, destination in ((4, _EVERYWHERE), (6, "::/0")):
            for subnet in self.subnets:
                if subnet.ip_version == family and subnet.gateway_ip is not None and self._own_address(subnet):
                    draft.routes.append(rows.Route(self.namespace, destination, subnet.gateway_ip, self.device))
                    break
        if is_isolated(self.network):
            draft.addresses.append(rows.Address(self.namespace, self.device, METADATA_CIDR))
            draft.metadata.append(dhcp_listener(self.namespace, self.network.whole_id))
            if is_asked_over_ipv6(self.network):
                draft.addresses.append(rows.Address(self.namespace, self.device, METADATA_CIDR6))
                draft.metadata.append(dhcp_listener6(self.namespace, self.network.whole_id, self.device))

    def _own_address(self, subnet: IntentSubnet) -> str | None:
        """The address of the DHCP port in a subnet."""
        for fixed_ip in self.port.fixed_ips:
            if fixed_ip.subnet_id == subnet.id:
                return fixed_ip.ip_address
        return None

    def _arguments(self) -> Iterator[str]:
        yield from ("dnsmasq", "--no-hosts", "--no-resolv", f"--pid-file={self.directory}/pid")
        yield f"--dhcp-hostsfile={self.directory}/host"
        yield f"--addn-hosts={self.directory}/addn_hosts"
        yield f"--dhcp-optsfile={self.directory}/opts"
        yield from ("--leasefile-ro", "--dhcp-authoritative", "--user=root")
        yield from ("--dhcp-match=set:ipxe,175", "--dhcp-userclass=set:ipxe6,iPXE", "--local-service", "--bind-dynamic")
        yield from (f"--interface={self.device}", "--except-interface=lo")
        leases = 0
        for subnet in self.subnets:
            cidr = ipaddress.ip_network(subnet.cidr)
            if subnet.ip_version == 4:
                yield f"--dhcp-range=set:subnet-{subnet.id},{cidr.network_address},static,{cidr.netmask},{_LEASE_S}s"
            elif _serves_dhcpv6(subnet):
                yield f"--dhcp-range=set:subnet-{subnet.id},{cidr.network_address},static,{cidr.prefixlen},{_LEASE_S}s"
            else:
                continue
            leases += cidr.num_addresses
        yield f"--dhcp-option-force=option:mtu,{self.network.mtu_bytes}"
        yield f"--dhcp-lease-max={min(leases, _MOST_LEASES)}"
        for server in self.settings.dns_servers:
            yield f"--server={server}"
        yield "--conf-file=/dev/null"
        if self.domain:
            yield f"--domain={self.domain}"

    def _hosts(self) -> Iterator[_Host]:
        """Every address of every port but DHCP's own, in subnets with DHCP, in order of address."""
        served = {subnet.id: subnet for subnet in self.subnets}
        found: list[tuple[int, IntentPort | IntentRemotePort, FixedIp]] = []
        for port in self.ports:
            if not _serves_dhcp(port):
                for fixed_ip in port.fixed_ips:
                    if fixed_ip.subnet_id in served:
                        found.append((int(ipaddress.ip_address(fixed_ip.ip_address)), port, fixed_ip))
        for _, port, fixed_ip in sorted(found, key=lambda item: (version(item[2].ip_address), item[0], item[1].id)):
            hostname, fqdn = self._names(port.dns_name, fixed_ip.ip_address)
            yield _Host(port, served[fixed_ip.subnet_id], fixed_ip.ip_address, hostname, fqdn)

    def _names(self, name: str, address: str) -> tuple[str, str]:
        """The host name and the whole name of an address.

        A line with a keyword that nobody replaced, `<project_id>`, would be none to dnsmasq, and its guest without
        DHCP: such a name is told by the API alone.
        """
        if not name or "<" in name:
            name = "host-" + address.replace(".", "-").replace(":", "-")
        if name.endswith("."):
            return name[:-1], name[:-1]
        return name, f"{name}.{self.domain}" if self.domain else name

    def _addn_hosts(self) -> Iterator[str]:
        for host in self._hosts():
            yield f"{host.address}\t{host.fqdn} {host.hostname}"

    def _dhcp_hosts(self) -> Iterator[str]:
        for host in self._hosts():
            if host.subnet.ip_version == 6 and not _leases_addresses(host.subnet):
                continue
            words = [host.port.mac_address]
            client_id = next((option.value for option in host.port.extra_dhcp_opts if option.name == _CLIENT_ID), None)
            if client_id is not None:
                words.append(f"id:{client_id}")
            if host.subnet.ip_version == 6:
                words += ["tag:dhcpv6", host.fqdn, f"[{host.address}]"]
            else:
                words += [host.fqdn, host.address]
            if any(option.name != _CLIENT_ID for option in host.port.extra_dhcp_opts):
                words.append(f"set:port-{host.port.id}")
            yield ",".join(words)

    def _subnet_options(self) -> Iterator[str]:
        for subnet in self.subnets:
            if subnet.ip_version == 6 and not _serves_dhcpv6(subnet):
                continue
            tag = f"tag:subnet-{subnet.id}"
            yield from self._dns_option(subnet, tag)
            if subnet.ip_version == 6:
                if self.domain:
                    yield f"{tag},option6:domain-search,{self.domain}"
                continue
            gateway, routes = self._routes(subnet)
            if routes:
                yield f"{tag},option:classless-static-route,{','.join(routes)}"
                yield f"{tag},{_CLASSLESS_ROUTE_MICROSOFT},{','.join(routes)}"
            yield f"{tag},option:router,{gateway}" if gateway else f"{tag},option:router"

    def _dns_option(self, subnet: IntentSubnet, tag: str) -> Iterator[str]:
        """The subnet's DNS servers, else the address of this dnsmasq; none at all when the one server is 0.0.0.0."""
        option = f"{tag},option{'6' if subnet.ip_version == 6 else ''}:dns-server"
        servers = subnet.dns_nameservers
        if servers == _ANNOUNCE_NO_DNS[subnet.ip_version]:
            yield option
            return
        own = self._own_address(subnet)
        if not servers and own is not None:
            servers = (own,)
        if servers:
            yield ",".join([option, *(f"[{server}]" if subnet.ip_version == 6 else server for server in servers)])

    def _routes(self, subnet: IntentSubnet) -> tuple[str | None, list[str]]:
        """(gateway, classless static routes): a client that takes option 121 ignores the router option (RFC 3442)."""
        gateway = subnet.gateway_ip
        routes: list[str] = []
        for other in self.network.subnets:
            if other.ip_version == 4 and other.cidr != subnet.cidr:
                routes.append(f"{other.cidr},0.0.0.0")
        for route in subnet.host_routes:
            if route.destination == _EVERYWHERE:
                gateway = gateway or route.nexthop
            else:
                routes.append(f"{route.destination},{route.nexthop}")
        through = self._own_address(subnet) if is_isolated(self.network) else gateway
        if through:
            routes.append(f"{METADATA_IP}/32,{through}")
        if routes and gateway:
            routes.append(f"{_EVERYWHERE},{gateway}")
        return gateway, routes

    def _port_options(self) -> Iterator[str]:
        for port in self.ports:
            families = {version(fixed_ip.ip_address) for fixed_ip in port.fixed_ips}
            for option in port.extra_dhcp_opts:
                if option.name == _CLIENT_ID or option.ip_version not in families:
                    continue
                name = option.name
                if not name.isdigit():
                    name = f"option{'6' if option.ip_version == 6 else ''}:{name}"
                yield f"tag:port-{port.id},{name},{option.value}"


def _serves_dhcp(port: IntentPort | IntentRemotePort) -> bool:
    return port.serves_dhcp if isinstance(port, IntentRemotePort) else port.device_owner == "network:dhcp"


def _serves_dhcpv6(subnet: IntentSubnet) -> bool:
    """Whether dnsmasq speaks DHCPv6 here: stateful, stateless, or no mode given at all."""
    if subnet.ipv6_address_mode is None:
        return subnet.ipv6_ra_mode is None
    return subnet.ipv6_address_mode in ("dhcpv6-stateful", "dhcpv6-stateless")


def _leases_addresses(subnet: IntentSubnet) -> bool:
    """Whether an IPv6 address is handed out by DHCPv6, not formed by the guest."""
    return _serves_dhcpv6(subnet) and subnet.ipv6_address_mode != "dhcpv6-stateless"


def _text(lines: Iterator[str] | list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
