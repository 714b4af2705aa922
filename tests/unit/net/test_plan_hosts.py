"""Devices, DHCP, routers and iptables as values."""

from __future__ import annotations

import msgspec
from plancloud import (
    SETTINGS,
    dhcp_port,
    far_port,
    group,
    hybrid,
    mac,
    member,
    planned,
    port,
    router_port,
    rule,
    subnet,
    uid,
    vlan_network,
    vxlan_network,
    whole_cloud,
)

from deuteron.model.intent import (
    DhcpOption,
    FloatingIp,
    HostIntent,
    HostRoute,
    HostSettings,
    IntentAddressGroup,
    IntentObject,
    IntentRouter,
    RouterGateway,
)
from deuteron.net.plan import plan
from deuteron.net.rows import (
    HOST,
    Address,
    Connections,
    HostPlan,
    IptablesTable,
    Link,
    MetadataListener,
    Namespace,
    Route,
)


def options_of(plan_: HostPlan) -> list[str]:
    return dict(plan_.dnsmasqs[0].files)["opts"].splitlines()


def hosts_of(plan_: HostPlan) -> list[str]:
    return dict(plan_.dnsmasqs[0].files)["host"].splitlines()


def test_the_tunnel_address_is_that_of_the_bridge_the_tunnel_interface_is_in() -> None:
    settings = msgspec.structs.replace(
        SETTINGS,
        tunnel_ip="172.31.0.10",
        bridge_ports={"br-eth1": "eth1", **SETTINGS.bridge_ports},
        bridge_addresses={"br-eth1": "172.31.0.10/16"},
    )
    wanted = plan(HostIntent(), settings)
    assert Address(HOST, "br-eth1", "172.31.0.10/16") in wanted.addresses
    assert Link(namespace=HOST, name="br-eth1", kind="existing") in wanted.links, "it is set up, or there is no route"
    assert [port.bridge for port in wanted.ovs_ports if port.name == "eth1"] == ["br-eth1"]
    assert [(flow.match, flow.actions) for flow in wanted.flows if flow.bridge == "br-eth1"] == [("", "NORMAL")]
    assert "br-eth1" not in {peer for port in wanted.ovs_ports for _, peer in port.options}, "it has no patch to br-int"


def test_the_userspace_datapath_takes_the_fragments_of_small_mtus() -> None:
    def fragments(settings: HostSettings) -> dict[str, int]:
        return {row.name: row.value for row in plan(HostIntent(), settings).datapath}

    assert fragments(SETTINGS) == {"min-frag-v4": 400, "min-frag-v6": 400}
    assert fragments(msgspec.structs.replace(SETTINGS, datapath_type="system")) == {}, "the kernel takes any"


def test_every_zone_of_tracked_connections_has_a_limit() -> None:
    n1, n2, n3 = vlan_network("n1", 1), vlan_network("n2", 2, 1001), vlan_network("n3", 3, 1002)
    ports = (
        port("a", 16, n1, "10.10.10.2"),
        port("b", 17, n2, "10.10.10.2", groups=("s",)),
        port("c", 18, n3, "10.10.10.2", port_security_enabled=False, security_groups=()),
    )
    objects = (n1, n2, n3, *ports, group("g"), group("s", stateful=False))
    limits = {row.name: row.value for row in planned(*objects).datapath if row.name.startswith("ct-")}
    assert limits == {"ct-limit-1": 32_768}, "only stateful groups track"
    tracked = planned(*objects, settings=hybrid())
    for family in (4, 6):
        chains = {chain.name: chain.rules for chain in table_of(tracked, "filter", family).chains}
        for letter in "io":
            for word, is_limited in (("a", True), ("b", False)):
                rules = chains[f"neutron-openvswi-{letter}{uid(word)[:10]}"]
                assert (
                    any("--connlimit-above 8192" in rule and rule.endswith("-j DROP") for rule in rules) is is_limited
                )


def table_of(plan_: HostPlan, name: str, family: int = 4) -> IptablesTable:
    return next(row for row in plan_.iptables if (row.table, row.family) == (name, family))


def chain(table: IptablesTable, name: str) -> tuple[str, ...]:
    return next(item.rules for item in table.chains if item.name == name)


class TestGuests:
    def test_a_native_guest_has_a_tap_on_br_int(self) -> None:
        network = vxlan_network("x1", 5, 13)
        plan_ = planned(network, port("a", 16, network, "10.10.10.2"), group("g"))
        (tap,) = [row for row in plan_.links if row.name == "tapaaaaaaaa-aa"]
        assert tap == Link("", "tapaaaaaaaa-aa", "tap", mac="fe:16:3e:00:00:10", mtu_bytes=1450)
        (row,) = [row for row in plan_.ovs_ports if row.name == "tapaaaaaaaa-aa"]
        assert (row.type, row.tag, row.ofport_request) == ("system", 5, 16)
        assert dict(row.external_ids) == {
            "attached-mac": mac(16),
            "deuteron-id": uid("a"),
            "iface-id": uid("a"),
            "iface-status": "active",
            "vm-uuid": uid("vma"),
        }
        assert dict(row.other_config) == {
            "net_uuid": uid("x1"),
            "network_type": "vxlan",
            "physical_network": "None",
            "segmentation_id": "13",
            "tag": "5",
        }

    def test_a_hybrid_guest_has_the_chain_of_seed_d(self) -> None:
        network = vlan_network()
        plan_ = planned(network, port("a", 16, network, "10.10.10.2"), group("g"), settings=hybrid())
        links = {row.name: row for row in plan_.links}
        assert links["qbraaaaaaaa-aa"].kind == "bridge"
        veth = links["qvbaaaaaaaa-aa"]
        assert (veth.kind, veth.peer, veth.master) == ("veth", "qvoaaaaaaaa-aa", "qbraaaaaaaa-aa")
        assert "tapaaaaaaaa-aa" not in links
        assert [row.tag for row in plan_.ovs_ports if row.name == "qvoaaaaaaaa-aa"] == [1]

    def test_the_host_itself_stays_out_of_a_guests_link(self) -> None:
        network = vlan_network()
        plan_ = planned(network, port("a", 16, network, "10.10.10.2"), group("g"))
        settings = {row.name: row.value for row in plan_.sysctls if row.namespace == ""}
        assert settings["net.ipv6.conf.tapaaaaaaaa-aa.disable_ipv6"] == "1"
        assert settings["net.ipv4.conf.tapaaaaaaaa-aa.arp_ignore"] == "8"


class TestDhcp:
    network = vlan_network(dhcp_port_id=uid("d"))

    def cloud(self, *more: IntentObject, **change: object) -> HostPlan:
        network = msgspec.structs.replace(self.network, **change)
        return planned(network, dhcp_port("d", 30, network, "10.10.10.3"), *more)

    def test_the_namespace_holds_the_port_and_its_address(self) -> None:
        plan_ = self.cloud(routed_by=uid("r"))
        namespace = f"qdhcp-{uid('n1')}"
        assert plan_.namespaces == (Namespace(namespace),)
        assert plan_.addresses == (Address(namespace, "tapdddddddd-dd", "10.10.10.3/24"),)
        assert plan_.routes == (Route(namespace, "0.0.0.0/0", "10.10.10.1", "tapdddddddd-dd"),)
        (row,) = [row for row in plan_.ovs_ports if row.name == "tapdddddddd-dd"]
        assert (row.type, row.namespace, row.tag, row.mtu_request) == ("internal", namespace, 1, 1500)

    def test_an_isolated_network_gets_metadata_from_dhcp(self) -> None:
        plan_ = self.cloud()
        namespace = f"qdhcp-{uid('n1')}"
        assert Address(namespace, "tapdddddddd-dd", "169.254.169.254/32") in plan_.addresses
        assert plan_.metadata == (MetadataListener(namespace, "169.254.169.254", 80, network_id=uid("n1")),)
        assert f"tag:subnet-{uid('n1s')},249,169.254.169.254/32,10.10.10.3,0.0.0.0/0,10.10.10.1" in options_of(plan_)

    def test_an_isolated_network_with_ipv6_gets_metadata_over_it_too(self) -> None:
        subnets = (*self.network.subnets, subnet("s6", "fd00:10::/64", "fd00:10::1", enable_dhcp=False))
        plan_, namespace = self.cloud(subnets=subnets), f"qdhcp-{uid('n1')}"
        assert Address(namespace, "tapdddddddd-dd", "fe80::a9fe:a9fe/128") in plan_.addresses
        listener = MetadataListener(namespace, "fe80::a9fe:a9fe%tapdddddddd-dd", 80, network_id=uid("n1"))
        assert listener in plan_.metadata
        routed = self.cloud(subnets=subnets, routed_by=uid("r"))
        assert not routed.metadata
        assert not [row for row in routed.addresses if "fe80" in row.interface]

    def test_a_routed_network_gets_metadata_through_its_router(self) -> None:
        route = "169.254.169.254/32,10.10.10.1,0.0.0.0/0,10.10.10.1"
        plan_ = self.cloud(routed_by=uid("r"))
        assert not plan_.metadata
        assert f"tag:subnet-{uid('n1s')},option:classless-static-route,{route}" in options_of(plan_)

    def test_the_hosts_file_is_that_of_seed_d(self) -> None:
        guest = port("a", 16, self.network, "10.10.10.2")
        assert hosts_of(self.cloud(guest)) == [f"{mac(16)},host-10-10-10-2.openstacklocal,10.10.10.2"]

    def test_a_port_with_a_name_has_it_in_the_domain_of_its_network(self) -> None:
        near = port("a", 16, self.network, "10.10.10.2", dns_name="web")
        far = far_port("b", 17, self.network, "10.10.10.4", dns_name="db.cloud.example.")
        plan_ = self.cloud(near, far, dns_domain="cloud.example")
        assert hosts_of(plan_) == [f"{mac(16)},web.cloud.example,10.10.10.2", f"{mac(17)},db.cloud.example,10.10.10.4"]
        assert dict(plan_.dnsmasqs[0].files)["addn_hosts"].splitlines() == [
            "10.10.10.2\tweb.cloud.example web",
            "10.10.10.4\tdb.cloud.example db.cloud.example",
        ]
        assert "--domain=cloud.example" in plan_.dnsmasqs[0].arguments
        other = self.cloud(msgspec.structs.replace(near, dns_name="www"), far, dns_domain="cloud.example")
        assert other.dnsmasqs[0].arguments == plan_.dnsmasqs[0].arguments, "dnsmasq is not started anew"

    def test_a_name_that_dnsmasq_would_refuse_is_not_on_its_lines(self) -> None:
        guest = port("a", 16, self.network, "10.10.10.2", dns_name="<project_id>")
        assert hosts_of(self.cloud(guest)) == [f"{mac(16)},host-10-10-10-2.openstacklocal,10.10.10.2"]

    def test_a_name_without_a_domain_stands_alone(self) -> None:
        plan_ = self.cloud(port("a", 16, self.network, "10.10.10.2", dns_name="web"), dns_domain="")
        assert hosts_of(plan_) == [f"{mac(16)},web,10.10.10.2"]

    def test_a_new_port_changes_files_only(self) -> None:
        before = self.cloud().dnsmasqs[0]
        after = self.cloud(port("a", 16, self.network, "10.10.10.2")).dnsmasqs[0]
        assert before.arguments == after.arguments
        assert before.files != after.files

    def test_extra_options_are_tagged_by_port(self) -> None:
        extra = (DhcpOption("bootfile-name", "pxelinux.0"), DhcpOption("150", "10.0.0.9"), DhcpOption("x", "y", 6))
        plan_ = self.cloud(port("a", 16, self.network, "10.10.10.2", extra_dhcp_opts=extra))
        assert hosts_of(plan_) == [f"{mac(16)},host-10-10-10-2.openstacklocal,10.10.10.2,set:port-{uid('a')}"]
        assert options_of(plan_)[-2:] == [
            f"tag:port-{uid('a')},option:bootfile-name,pxelinux.0",
            f"tag:port-{uid('a')},150,10.0.0.9",
        ]

    def test_a_subnet_without_dns_servers_points_to_dnsmasq(self) -> None:
        assert options_of(self.cloud())[0] == f"tag:subnet-{uid('n1s')},option:dns-server,10.10.10.3"

    def test_dns_servers_and_host_routes_of_the_subnet_are_announced(self) -> None:
        one = subnet(
            "n1s", dns_nameservers=("9.9.9.9", "1.1.1.1"), host_routes=(HostRoute("10.20.0.0/16", "10.10.10.9"),)
        )
        tag = f"tag:subnet-{uid('n1s')}"
        assert options_of(self.cloud(subnets=(one,), routed_by=uid("r"))) == [
            f"{tag},option:dns-server,9.9.9.9,1.1.1.1",
            f"{tag},option:classless-static-route,10.20.0.0/16,10.10.10.9,169.254.169.254/32,10.10.10.1,"
            "0.0.0.0/0,10.10.10.1",
            f"{tag},249,10.20.0.0/16,10.10.10.9,169.254.169.254/32,10.10.10.1,0.0.0.0/0,10.10.10.1",
            f"{tag},option:router,10.10.10.1",
        ]

    def test_the_mtu_is_announced(self) -> None:
        assert "--dhcp-option-force=option:mtu,1500" in self.cloud().dnsmasqs[0].arguments

    def test_stateful_ipv6_addresses_are_leased_and_slaac_ones_only_named(self) -> None:
        stateful = subnet("s6", "fd00:10::/64", "fd00:10::1", ipv6_address_mode="dhcpv6-stateful")
        slaac = subnet("s7", "fd00:20::/64", "fd00:20::1", ipv6_address_mode="slaac", ipv6_ra_mode="slaac")
        network = msgspec.structs.replace(self.network, subnets=(stateful,))
        plan_ = planned(network, dhcp_port("d", 30, network, "fd00:10::3"), port("a", 16, network, "fd00:10::2"))
        assert hosts_of(plan_) == [f"{mac(16)},tag:dhcpv6,host-fd00-10--2.openstacklocal,[fd00:10::2]"]
        assert f"--dhcp-range=set:subnet-{uid('s6')},fd00:10::,static,64,86400s" in plan_.dnsmasqs[0].arguments
        network = msgspec.structs.replace(self.network, subnets=(slaac,))
        plan_ = planned(network, dhcp_port("d", 30, network, "fd00:20::3"), port("a", 16, network, "fd00:20::2"))
        assert hosts_of(plan_) == []
        assert "fd00:20::2\t" in dict(plan_.dnsmasqs[0].files)["addn_hosts"]

    def test_a_network_that_is_down_or_has_no_dhcp_subnet_is_not_served(self) -> None:
        assert not self.cloud(admin_state_up=False).dnsmasqs
        assert not self.cloud(subnets=(subnet("n1s", enable_dhcp=False),)).namespaces


class TestRouter:
    inside = vlan_network("n1", 1, 1000)
    outside = vlan_network("ex", 2, 0, network_type="flat", physical_network="public", segmentation_id=None)
    qr = port("a", 20, inside, "10.10.10.1", groups=(), device_owner="network:router_interface")
    qg = port("b", 21, outside, "172.24.4.10", groups=(), device_owner="network:router_gateway")
    namespace = f"qrouter-{uid('r')}"

    def router(self, **change: object) -> HostPlan:
        base = IntentRouter(
            id=uid("r"),
            project_id=uid("p"),
            interfaces=(router_port(self.qr, self.inside, "10.10.10.1/24"),),
            gateway=RouterGateway(router_port(self.qg, self.outside, "172.24.4.10/24"), ("172.24.4.1",)),
            floating_ips=(FloatingIp(uid("f"), "172.24.4.20", "10.10.10.2"),),
        )
        return planned(self.inside, self.outside, self.qr, self.qg, msgspec.structs.replace(base, **change))

    def test_its_namespace_has_an_interface_for_each_network(self) -> None:
        plan_ = self.router()
        assert {(row.name, row.tag, row.namespace) for row in plan_.ovs_ports if row.type == "internal"} == {
            ("qr-aaaaaaaa-aa", 1, self.namespace),
            ("qg-bbbbbbbb-bb", 2, self.namespace),
        }
        assert {(row.link, row.interface) for row in plan_.addresses} == {
            ("qr-aaaaaaaa-aa", "10.10.10.1/24"),
            ("qg-bbbbbbbb-bb", "172.24.4.10/24"),
            ("qg-bbbbbbbb-bb", "172.24.4.20/32"),
        }
        assert plan_.routes == (Route(self.namespace, "0.0.0.0/0", "172.24.4.1", "qg-bbbbbbbb-bb"),)

    def test_nat_is_that_of_seed_d(self) -> None:
        nat = table_of(self.router(), "nat")
        dnat = "-d 172.24.4.20/32 -j DNAT --to-destination 10.10.10.2"
        assert chain(nat, "neutron-l3-agent-OUTPUT") == (dnat,)
        assert dnat in chain(nat, "neutron-l3-agent-PREROUTING")
        assert chain(nat, "neutron-l3-agent-float-snat") == (
            "-s 10.10.10.2/32 -j SNAT --to-source 172.24.4.20 --random-fully",
        )
        assert "-o qg-bbbbbbbb-bb -j SNAT --to-source 172.24.4.10 --random-fully" in chain(nat, "neutron-l3-agent-snat")

    def test_without_snat_only_floating_ips_are_translated(self) -> None:
        gateway = RouterGateway(
            router_port(self.qg, self.outside, "172.24.4.10/24"), ("172.24.4.1",), enable_snat=False
        )
        nat = table_of(self.router(gateway=gateway), "nat")
        assert not [line for line in chain(nat, "neutron-l3-agent-snat") if line.startswith("-o qg-")]
        assert chain(nat, "neutron-l3-agent-float-snat")

    def test_without_a_gateway_there_is_no_translation(self) -> None:
        nat = table_of(self.router(gateway=None, floating_ips=()), "nat")
        assert chain(nat, "neutron-l3-agent-snat") == ("-j neutron-l3-agent-float-snat",)
        assert chain(nat, "neutron-l3-agent-POSTROUTING") == ()

    def test_a_gateway_without_addresses_is_a_plugged_interface_and_nothing_more(self) -> None:
        plan_ = self.router(gateway=RouterGateway(router_port(self.qg, self.outside), ()), floating_ips=())
        assert "qg-bbbbbbbb-bb" in {row.name for row in plan_.ovs_ports}
        assert not [row for row in plan_.addresses if row.link == "qg-bbbbbbbb-bb"]
        assert plan_.routes == ()
        assert chain(table_of(plan_, "nat"), "neutron-l3-agent-snat") == ("-j neutron-l3-agent-float-snat",)

    def test_metadata_is_redirected_and_closed_to_everyone_else(self) -> None:
        plan_ = self.router()
        redirect = "-d 169.254.169.254/32 -i qr-+ -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 9697"
        assert chain(table_of(plan_, "nat"), "neutron-l3-agent-PREROUTING")[0] == redirect
        assert chain(table_of(plan_, "filter"), "neutron-l3-agent-INPUT") == (
            "-m mark --mark 0x1/0xffff -j ACCEPT",
            "-p tcp -m tcp --dport 9697 -j DROP",
        )
        assert plan_.metadata == (MetadataListener(self.namespace, "0.0.0.0", 9697, router_id=uid("r")),)

    def test_metadata_over_ipv6_is_heard_on_each_interface_and_has_its_address_on_one(self) -> None:
        inside = msgspec.structs.replace(
            self.inside, subnets=(*self.inside.subnets, subnet("s6", "fd00:10::/64", ipv6_ra_mode="slaac"))
        )
        beside = vlan_network("n2", 3, 1003)
        more = port("c", 22, inside, "fd00:10::1", groups=(), device_owner="network:router_interface")
        other = port("d", 23, beside, "10.20.20.1", groups=(), device_owner="network:router_interface")
        unbound = far_port("e", 24, inside, "fd00:10::9")
        interfaces = (
            router_port(self.qr, inside, "10.10.10.1/24"),
            router_port(more, inside, "fd00:10::1/64", ra_subnets=(inside.subnets[1],)),
            router_port(other, beside, "10.20.20.1/24"),
            router_port(unbound, inside, "fd00:10::9/64"),
        )
        router = IntentRouter(uid("r"), uid("p"), interfaces=interfaces)
        plan_ = planned(inside, beside, self.qr, more, other, unbound, router)
        assert [row.link for row in plan_.addresses if row.interface == "fe80::a9fe:a9fe/128"] == ["qr-cccccccc-cc"]
        assert {(row.address, row.router_id, row.network_id) for row in plan_.metadata} == {
            ("0.0.0.0", uid("r"), None),
            ("::%qr-aaaaaaaa-aa", uid("r"), uid("n1")),
            ("::%qr-cccccccc-cc", uid("r"), uid("n1")),
        }
        redirect = "-d fe80::a9fe:a9fe/128 -i qr-+ -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 9697"
        assert chain(table_of(plan_, "nat", 6), "neutron-l3-agent-PREROUTING") == (redirect,)
        assert chain(table_of(plan_, "filter", 6), "neutron-l3-agent-INPUT")[-1].endswith("--dport 9697 -j DROP")
        assert "   route fe80::a9fe:a9fe/128 {\n   };\n};\n" in plan_.radvds[0].config

    def test_connections_are_held_to_what_the_rules_translate(self) -> None:
        routes = (HostRoute("10.40.0.0/16", "10.10.10.20"), HostRoute("192.0.2.0/24", "172.24.4.9"))
        lost = HostRoute("10.50.0.0/16", "203.0.113.1")
        (row,) = self.router(routes=(*routes, lost)).connections
        assert (row.inside, row.outside) == (("10.10.10.0/24", "10.40.0.0/16"), ("172.24.4.0/24", "192.0.2.0/24"))
        assert row.own == ("10.10.10.1", "172.24.4.10", "172.24.4.20")
        assert (row.floating, row.gateway, row.snat) == ((("172.24.4.20", "10.10.10.2"),), "172.24.4.10", True)
        (alone,) = self.router(gateway=None, floating_ips=(), interfaces=()).connections
        assert alone == Connections(self.namespace, redirected=("169.254.169.254",))

    def test_extra_routes_leave_by_the_interface_that_reaches_the_next_hop(self) -> None:
        plan_ = self.router(routes=(HostRoute("10.40.0.0/16", "10.10.10.20"), HostRoute("10.50.0.0/16", "192.0.2.1")))
        assert Route(self.namespace, "10.40.0.0/16", "10.10.10.20", "qr-aaaaaaaa-aa") in plan_.routes
        assert Route(self.namespace, "10.50.0.0/16", "192.0.2.1", None) in plan_.routes

    def test_a_gateway_outside_its_subnet_is_reached_on_link(self) -> None:
        gateway = RouterGateway(router_port(self.qg, self.outside, "172.24.4.10/24"), ("192.0.2.1",))
        assert Route(self.namespace, "192.0.2.1/32", None, "qg-bbbbbbbb-bb") in self.router(gateway=gateway).routes

    def test_a_router_that_is_down_is_plugged_in_and_carries_nothing(self) -> None:
        up, down = self.router(), self.router(admin_state_up=False)
        mine = [row for row in down.ovs_ports if row.namespace == self.namespace]
        assert mine == [row for row in up.ovs_ports if row.namespace == self.namespace] != []
        here = (*down.addresses, *down.routes, *down.iptables, *down.radvds, *down.metadata)
        assert not [row for row in here if row.namespace == self.namespace]
        settings = {row.name: row.value for row in down.sysctls if row.namespace == self.namespace}
        assert settings["net.ipv4.ip_forward"] == settings["net.ipv6.conf.all.forwarding"] == "0"
        for plugged in mine:
            flows = [row for row in down.flows if f"in_port={plugged.ofport_request}" in row.match.split(",")]
            assert [(row.table, row.actions) for row in flows] == [(0, "drop")], flows

    def test_it_forwards(self) -> None:
        settings = {row.name: row.value for row in self.router().sysctls if row.namespace == self.namespace}
        assert settings["net.ipv4.ip_forward"] == "1"
        assert settings["net.ipv4.conf.all.arp_ignore"] == "1"

    def test_addresses_are_usable_at_once(self) -> None:
        """Or the first router advertisement is lost, and the next one comes after 16 s."""
        plan_ = planned(*whole_cloud())
        assert self.namespace in {row.name for row in plan_.namespaces}
        for namespace in plan_.namespaces:
            settings = {row.name: row.value for row in plan_.sysctls if row.namespace == namespace.name}
            for which in ("all", "default"):
                assert settings[f"net.ipv6.conf.{which}.accept_dad"] == "0", namespace

    def test_ipv6_subnets_are_advertised(self) -> None:
        (radvd,) = planned(*whole_cloud()).radvds
        assert radvd.namespace == self.namespace
        assert "   prefix fd00:10::/64\n" in radvd.config
        assert "   AdvLinkMTU 1500;\n" in radvd.config


class TestHybridRules:
    network = vlan_network()

    def filter4(self, *rules: object) -> IptablesTable:
        a = port("a", 16, self.network, "10.10.10.2")
        asked = [item for item in rules if not isinstance(item, str)]
        return table_of(
            planned(self.network, a, group("g", *asked), member("h", a), settings=hybrid()),  # type: ignore[arg-type]
            "filter",
        )

    def test_rules_become_returns_between_established_and_fallback(self) -> None:
        ssh = rule("1", protocol=6, port_range_min=22, port_range_max=22, remote_ip_prefix="192.0.2.0/24")
        lines = chain(self.filter4(ssh), "neutron-openvswi-iaaaaaaaa-a")
        position = lines.index("-s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j RETURN")
        assert "RELATED,ESTABLISHED" in lines[position - 2]
        assert "connlimit" in lines[position - 1]
        assert lines[-1].endswith("-j neutron-openvswi-sg-fallback")

    def test_ports_of_udp_lite_are_matched_in_the_one_way_that_iptables_has(self) -> None:
        """Source: neutron/agent/linux/iptables_firewall.py, `IPTABLES_MULTIPORT_ONLY_PROTOCOLS`."""
        rules = (
            rule("1", protocol=136, port_range_min=10, port_range_max=20),
            rule("2", protocol=136, port_range_min=30, port_range_max=30),
            rule("3", protocol=33, port_range_min=5, port_range_max=6),
        )
        lines = chain(self.filter4(*rules), "neutron-openvswi-iaaaaaaaa-a")
        assert [line for line in lines if "multiport" in line or "dccp" in line] == [
            "-p udplite -m multiport --dports 10:20 -j RETURN",
            "-p udplite -m multiport --dports 30 -j RETURN",
            "-p dccp -m dccp --dport 5:6 -j RETURN",
        ]

    def test_remote_groups_are_sets(self) -> None:
        lines = chain(self.filter4(rule("1", remote_group_id=uid("h"))), "neutron-openvswi-iaaaaaaaa-a")
        assert "-m set --match-set NIPv4hhhhhhhh-hhhh-hhhh-hhhh- src -j RETURN" in lines
        a = port("a", 16, self.network, "10.10.10.2")
        plan_ = planned(
            self.network, a, group("g", rule("1", remote_group_id=uid("h"))), member("h", a), settings=hybrid()
        )
        assert [(row.name, row.members) for row in plan_.ipsets] == [
            ("NIPv4hhhhhhhh-hhhh-hhhh-hhhh-", ("10.10.10.2",)),
        ]

    def test_address_groups_are_sets(self) -> None:
        lines = chain(self.filter4(rule("1", remote_address_group_id=uid("h"))), "neutron-openvswi-iaaaaaaaa-a")
        assert "-m set --match-set NIPv4hhhhhhhh-hhhh-hhhh-hhhh- src -j RETURN" in lines
        a = port("a", 16, self.network, "10.10.10.2")
        rules = [rule(word, ethertype=word, remote_address_group_id=uid("h")) for word in ("IPv4", "IPv6")]
        addresses = IntentAddressGroup(uid("h"), ("10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32", "fd00::/8"))
        plan_ = planned(self.network, a, group("g", *rules), addresses, settings=hybrid())
        assert [(row.name[:5], row.members) for row in plan_.ipsets] == [
            ("NIPv4", ("0.0.0.0/1", "10.0.0.0/8", "128.0.0.0/1", "192.0.2.7")),
            ("NIPv6", ("fd00::/8",)),
        ]

    def test_only_the_guests_own_address_passes_the_spoof_chain(self) -> None:
        lines = chain(self.filter4(), "neutron-openvswi-saaaaaaaa-a")
        assert lines[0].startswith(f"-s 10.10.10.2/32 -m mac --mac-source {mac(16)} ")
        assert lines[-1].endswith("-j DROP")

    def test_each_port_has_a_zone_of_its_own(self) -> None:
        ports = [port(word, number, self.network, f"10.10.10.{number}") for word, number in (("a", 16), ("b", 17))]
        raw = table_of(planned(self.network, *ports, group("g"), settings=hybrid()), "raw")
        zones = {line.split()[-1] for line in chain(raw, "neutron-openvswi-PREROUTING")}
        assert zones == {"4113", "4114"}
