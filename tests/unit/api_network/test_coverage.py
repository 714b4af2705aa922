"""The network chapter of docs/api-coverage.md: what it says is there is held by a test, and the rest is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deuteron.model.intent import Hello
from deuteron.model.network import RESOURCES
from deuteron.rules.hosts import registry
from tests.coverage.words import paragraph, unheld
from tests.unit.api_compute.harness import run, world
from tests.unit.api_hosts.test_views import whole
from tests.unit.api_network.harness import OTHER, Client, cloud_in

TITLE = "Network v2.0"

HELD = {
    "`networks`": "spec/network-use-cases.yaml::a project network takes the first tunnel id of the pool",
    "flat, local, vlan, vxlan": "unit/api_network/test_coverage.py::test_networks_are_of_four_types",
    "provider attributes": "unit/api_network/test_rules.py::test_segments_come_from_the_pools_in_order_and_return",
    "several segments": "unit/api_network/test_segments.py::test_a_network_is_made_of_several_segments",
    "`segments`": "unit/api_network/test_segments.py::test_each_network_has_its_segment",
    "each is a VLAN of its own on hosts": "unit/net/test_plan_segments.py::"
    "test_each_segment_has_its_own_tag_on_its_own_physical_network",
    "a port is plugged into the first that its host has": "unit/api_network/test_segments.py::"
    "test_a_port_is_plugged_into_the_first_segment_that_its_host_has",
    "with subnets on them a network is routed": "unit/api_network/test_routed.py::"
    "test_a_network_is_routed_when_its_subnets_are_on_segments",
    "a port gets addresses of the segment that its host is connected to": "unit/api_network/test_routed.py::"
    "test_a_port_gets_addresses_of_the_segment_that_its_host_is_connected_to",
    "DHCP serves each segment where it is": "unit/api_network/test_routed.py::"
    "test_each_segment_has_a_dhcp_server_on_a_host_that_is_connected_to_it",
    "subnets tell the way to those on other segments": "unit/api_network/test_routed.py::"
    "test_subnets_tell_guests_the_way_to_those_on_other_segments",
    "external": "unit/api_network/test_external.py::test_a_gateway_waits_for_the_subnets_of_its_network",
    "shared": "unit/api_network/test_who_sees_what.py::test_a_shared_network_is_used_by_all_and_changed_by_its_owner",
    "mtu": "unit/api_network/test_rules.py::test_an_mtu_is_at_least_what_the_networks_subnets_speak",
    "`subnets`": "spec/network-use-cases.yaml::its subnet as seed D shows it",
    "v4 and v6 with SLAAC and DHCPv6": "unit/net/test_plan_hosts.py::"
    "test_stateful_ipv6_addresses_are_leased_and_slaac_ones_only_named",
    "pools": "unit/api_network/test_addresses.py::test_the_lowest_free_address_is_taken_whatever_came_before",
    "gateway": "unit/api_network/test_addresses.py::test_a_gateway_in_the_middle_splits_the_pool",
    "host routes, DNS servers": "unit/net/test_plan_hosts.py::"
    "test_dns_servers_and_host_routes_of_the_subnet_are_announced",
    "service types": "unit/api_network/test_coverage.py::test_a_subnet_serves_the_owners_it_is_for",
    "a project that asks gets a network behind a router": "unit/api_network/test_topologies.py::"
    "test_a_project_that_asks_gets_a_network_behind_a_router",
    "`subnetpools` (prefixes come and go, a network's subnets join)": "unit/api_network/test_pool_prefixes.py::"
    "test_a_pool_takes_in_the_subnets_of_a_network",
    "`address-scopes`": "unit/api_network/test_coverage.py::test_an_address_scope_holds_pools_of_its_ip_version",
    "routers carry packets within one and not from one to another, and do no SNAT within one": "unit/net/"
    "test_plan_scopes.py::test_packets_leave_where_the_scope_is_theirs",
    "`ports`": "unit/api_network/test_rules.py::test_a_bound_port_has_its_numbers_on_the_host_until_it_goes",
    "fixed IPs": "unit/api_network/test_addresses.py::test_a_port_keeps_the_addresses_it_names_again",
    "security groups": "unit/net/test_plan_packets.py::test_a_guest_reaches_a_neighbour_where_its_group_allows",
    "port security": "unit/net/test_plan_packets.py::test_a_port_without_security_may_send_as_anyone",
    "allowed address pairs": "unit/net/test_plan_packets.py::test_an_address_pair_widens_what_a_guest_may_send",
    "extra DHCP options": "unit/net/test_plan_hosts.py::test_extra_options_are_tagged_by_port",
    "`ports` `bindings`": "unit/api_network/test_port_bindings.py::"
    "test_a_port_has_one_active_binding_and_others_that_wait",
    "where a guest's port may be plugged in next": "unit/api_network/test_port_bindings.py::"
    "test_they_are_those_of_guests_ports",
    "one is active": "unit/api_network/test_port_bindings.py::test_to_activate_one_moves_the_port",
    "made anew to change them": "unit/api_network/test_port_bindings.py::"
    "test_without_its_active_binding_a_port_is_plugged_in_nowhere",
    "binding": "unit/api_network/test_rules.py::test_a_port_on_an_unknown_host_keeps_the_reason",
    "names that DHCP and DNS tell, where the operator has set a domain": "kernel/test_names.py::"
    "test_a_neighbour_finds_a_port_by_its_name_and_by_the_one_that_it_gets_next",
    "`routers`": "unit/net/test_plan_hosts.py::test_it_forwards",
    "interfaces, gateway": "unit/net/test_plan_hosts.py::test_its_namespace_has_an_interface_for_each_network",
    "SNAT on and off": "unit/net/test_plan_hosts.py::test_without_snat_only_floating_ips_are_translated",
    "`ndp_proxies`": "kernel/routers/test_ipv6.py::"
    "test_a_router_answers_outside_for_the_addresses_it_is_told: NdpProxying",
    "`conntrack_helpers`": "kernel/routers/test_translation.py::test_a_helper_lets_the_answer_of_a_server_of_files_in",
    "extra routes, also atomically": "unit/net/test_plan_hosts.py::"
    "test_extra_routes_leave_by_the_interface_that_reaches_the_next_hop",
    "`floatingips`": "unit/api_network/test_rules.py::test_a_floating_ip_goes_to_the_router_that_reaches_the_port",
    "of a router that they may name": "unit/api_network/test_floating_routers.py::"
    "test_a_floating_ip_is_translated_by_the_router_that_is_asked_for",
    "single ports and ranges by `port_forwardings`": "kernel/routers/test_translation.py::"
    "test_ports_of_a_floating_ip_lead_inside",
    "`security-groups`": "unit/api_network/test_lists.py::test_security_groups_list_their_rules",
    "`security-group-rules`": "unit/api_network/test_security_groups.py::test_what_says_the_same_is_the_same_rule",
    "remote groups": "unit/net/test_plan_packets.py::test_a_member_of_the_remote_group_reaches_any_port",
    "address groups": "unit/net/test_plan_packets.py::"
    "test_what_an_address_group_holds_reaches_the_port_and_nothing_else",
    "`address-groups`": "unit/api_network/test_address_groups.py::"
    "test_addresses_come_and_go_in_one_way_of_writing_them",
    "stateless groups": "unit/net/test_plan_packets.py::"
    "test_a_stateless_group_allows_without_tracking_and_nothing_else",
    "the default group": "unit/api_network/test_coverage.py::test_a_project_has_a_default_group_at_its_first_look",
    "`rbac-policies` for networks, groups, address groups, subnet pools, address scopes and QoS policies": ""
    "unit/api_network/test_coverage.py::"
    "test_each_kind_that_may_be_shared_is_given_to_a_project",
    "`default-security-group-rules` and `security-groups-default-statefulness` (what new groups begin with)": "unit/"
    "api_network/test_group_defaults.py::test_new_groups_begin_with_what_the_templates_say",
    "`qos` `policies`": "unit/api_network/test_qos.py::"
    "test_a_policy_is_for_managers_to_make_and_for_its_project_to_use",
    "`bandwidth_limit_rules` and `dscp_marking_rules`": "unit/net/test_plan_qos.py::"
    "test_what_a_port_sends_and_receives_passes_its_meters: meters tos",
    "also as `alias_bandwidth_limit_rules` and `alias_dscp_marking_rules`": "unit/api_network/test_qos.py::"
    "test_rules_are_in_their_policy_and_under_their_alias: alias_",
    "and `packet_rate_limit_rules`": "unit/net/test_plan_qos.py::"
    "test_packets_beyond_a_port_s_rate_are_dropped_both_ways: PacketLimit",
    "`minimum_bandwidth_rules` and `minimum_packet_rate_rules`, which hosts promise to ports of servers": ""
    "unit/api_compute/test_promises.py::"
    "test_a_server_is_placed_where_what_its_port_asks_fits_beside_what_is_promised: minimum_bandwidth_rule",
    "ports and networks obey": "unit/net/test_plan_qos.py::"
    "test_a_network_s_policy_is_for_all_its_guests_and_a_port_s_own_comes_first",
    "floating IPs and gateways are limited": "unit/net/test_plan_qos.py::"
    "test_what_goes_under_a_limited_floating_ip_passes_its_meters_and_no_other",
    "a default of each project": "unit/api_network/test_qos.py::"
    "test_the_default_policy_is_one_of_each_project_and_its_new_networks_obey_it",
    "`rule-types`": "unit/api_network/test_qos.py::test_rule_types_are_those_that_act",
    "`metering` labels and rules": "kernel/routers/test_metering.py::"
    "test_a_metering_label_counts_what_passes_the_gateway",
    "`log` `logs` of security groups": "system/test_network_logs.py::"
    "test_what_a_port_lets_pass_and_drops_is_written_down",
    "of a port, a group or a project": "unit/api_hosts/test_views.py::"
    "test_a_log_is_known_where_what_it_is_about_is_and_while_it_is_on",
    "where the switch filters": "unit/api_network/test_logs.py::test_a_port_that_no_switch_shows_cannot_be_logged",
    "`loggable-resources`": "unit/api_network/test_logs.py::test_security_groups_are_what_can_be_logged",
    "`auto-allocated-topology`": "unit/api_network/test_topologies.py::"
    "test_a_project_that_asks_gets_a_network_behind_a_router",
    "`trace`, which Neutron does not have: where a packet between two objects passes, and what stops it": "unit/"
    "api_network/test_traces.py::test_a_rule_that_misses_in_an_own_group_is_told",
    "`fabric`, what hosts should have, for administrators": "unit/api_network/test_traces.py::"
    "test_what_hosts_should_have_is_for_administrators",
    "`trunks`": "system/test_trunks.py::test_each_port_of_the_device_reaches_its_own_network",
    "subports with a VLAN of their own or their network's": "unit/api_network/test_trunks.py::"
    "test_a_subport_may_take_the_tag_of_its_network",
    "at most 100 each": "unit/api_network/test_trunks.py::test_a_trunk_has_so_many_subports_at_most",
    "groups of subports hold with either firewall": "system/test_trunks.py::test_groups_of_a_subport_hold_for_it_alone",
    "`floatingip_pools`": "unit/api_network/test_made_lists.py::test_pools_of_floating_ips_are_ipv4_subnets_outside",
    "`agents` with their networks and routers": "unit/api_network/test_coverage.py::"
    "test_agents_tell_which_networks_and_routers_they_serve",
    "which administrators move from host to host": "unit/api_network/test_schedulers.py::"
    "test_a_router_moves_with_its_ports",
    "`dhcp-networks`, `l3-routers`; several hosts may serve the DHCP of a network": "unit/api_network/"
    "test_schedulers.py::test_several_hosts_serve_a_network_each_with_a_port_of_its_own",
    "a host that is no network host has an L3 agent (mode dvr) while a distributed router is there, and as in Neutron "
    "none is moved to it or from it": "unit/api_network/test_distributed_routers.py::"
    "test_a_host_that_routes_for_them_has_an_agent_of_its_mode_while_it_does",
    "`local_ips` with `port_associations`": "unit/api_network/test_local_ips.py::"
    "test_what_leads_to_a_port_is_told_to_its_host",
    "on the host of such a port its guests reach the port, elsewhere the owner of the address": "system/"
    "test_local_ips.py::test_who_is_on_the_host_reaches_the_port_and_who_is_elsewhere_the_owner",
    "translated, or passed through to a guest that has the address": "system/test_local_ips.py::"
    "test_passed_through_packets_keep_the_address_and_other_hosts_hear_nothing_of_it",
    "`flavors` with `service_profiles`": "unit/api_network/test_flavors.py::"
    "test_a_router_of_a_flavor_is_of_its_provider_s_kind",
    "`availability_zones`": "unit/api_network/test_coverage.py::test_there_is_one_zone_and_a_provider_of_each_kind",
    "`quotas`": "unit/api_network/test_extensions.py::test_a_behaviour_that_an_extension_promises_is_there",
    "`network-ip-availabilities`": "unit/api_network/test_coverage.py::test_availability_counts_what_is_taken",
    "`service-providers`": "unit/api_network/test_coverage.py::test_there_is_one_zone_and_a_provider_of_each_kind",
    "`extensions` (only what works is listed)": "unit/api_network/test_extensions.py::"
    "test_each_alias_promises_something_that_is_held_here",
    "tags": "unit/api_network/test_lists.py::test_tags_find_objects",
    "revisions with `If-Match`": "unit/api_network/test_lists.py::"
    "test_a_write_that_expects_another_revision_is_refused",
}
"""What the chapter says is there, in its words, and the test that fails when it is not."""

ABSENT = {
    "BGP": "bgp-speakers",
    "VPN": "vpn/vpnservices",
    "firewall and load-balancer services": "fwaas/firewall_groups",
}
"""What the chapter says is not there, and a path of it."""


def test_all_that_is_there_is_held_by_a_test_that_is_there() -> None:
    assert unheld(paragraph(TITLE, "There:"), HELD) == []


@pytest.mark.parametrize("words", ABSENT)
def test_what_is_not_there_is_not_found(client: Client, words: str) -> None:
    assert words in paragraph(TITLE, "Not there:")
    assert client.call("GET", f"/v2.0/{ABSENT[words]}").status == 404


def test_networks_are_of_four_types(tmp_path: Path) -> None:
    wanted = {
        "flat": {"provider:physical_network": "physnet1"},
        "local": {},
        "vlan": {"provider:physical_network": "physnet1", "provider:segmentation_id": 1234},
        "vxlan": {"provider:segmentation_id": 77},
    }
    with cloud_in(tmp_path, flat_networks=("physnet1",)) as client:
        for kind, provider in wanted.items():
            network = client.network("admin", **{"provider:network_type": kind, **provider})
            assert network["provider:network_type"] == kind
            assert provider.items() <= network.items()
        for kind in ("gre", "geneve"):
            body = {"network": {"provider:network_type": kind, "provider:segmentation_id": 5}}
            answer = client.call("POST", "/v2.0/networks", body)
            assert (answer.status, answer.error["type"]) == (400, "InvalidInput")


def test_networks_of_several_tunnel_types_are_side_by_side(tmp_path: Path) -> None:
    kinds = ("vxlan", "gre", "geneve")
    with cloud_in(tmp_path, tunnel_types=kinds) as client:
        hello = Hello("aio", ("network", "compute"), 1, 1, 1, tunnel_ip="192.0.2.1", tunnel_types=kinds)
        client.cloud.database.write(lambda tx: registry.greet(tx, hello))
        made = {}
        for kind in kinds:
            wanted = {"provider:network_type": kind, "provider:segmentation_id": 77}
            network = client.network("admin", **wanted)
            assert wanted.items() <= network.items() and network["provider:physical_network"] is None
            made[kind] = network["id"]
            client.subnet(network["id"], "10.1.0.0/24", "admin")
            plugged = {"device_owner": "compute:nova", "binding:host_id": "aio"}
            port = client.port(network["id"], "admin", **plugged)
            assert port["binding:vif_type"] == "ovs"
        listed = client.get("/v2.0/networks")["networks"]
        assert {each["provider:network_type"]: each["id"] for each in listed if each["id"] in made.values()} == made
        for kind in kinds:
            found = client.get(f"/v2.0/networks?provider:network_type={kind}")["networks"]
            assert [each["id"] for each in found] == [made[kind]]
        seen = whole(client.cloud, "aio").networks
        told = {seen[made[kind]].network_type: seen[made[kind]].segmentation_id for kind in kinds}
        assert told == dict.fromkeys(kinds, 77)


def test_a_subnet_serves_the_owners_it_is_for(client: Client) -> None:
    network = client.network()["id"]
    client.subnet(network, "10.1.0.0/24", service_types=["network:router_gateway"])
    guests = client.subnet(network, "10.2.0.0/24", service_types=["compute:nova"])["id"]
    port = client.port(network, device_owner="compute:nova")
    assert [item["subnet_id"] for item in port["fixed_ips"]] == [guests]


def test_an_address_scope_holds_pools_of_its_ip_version(client: Client) -> None:
    scope = client.post("/v2.0/address-scopes", {"address_scope": {"name": "s", "ip_version": 4}})["address_scope"][
        "id"
    ]

    def pool(prefix: str) -> Any:
        body = {"subnetpool": {"name": "p", "prefixes": [prefix], "address_scope_id": scope}}
        return client.call("POST", "/v2.0/subnetpools", body)

    made = pool("10.0.0.0/16")
    assert (made.status, made.body["subnetpool"]["address_scope_id"]) == (201, scope)
    assert pool("fd00::/32").error["type"] == "IllegalSubnetPoolIpVersionAssociationToAddressScope"
    used = client.call("DELETE", f"/v2.0/address-scopes/{scope}")
    assert (used.status, used.error["type"]) == (409, "AddressScopeInUse")


def test_a_project_has_a_default_group_at_its_first_look(client: Client) -> None:
    (group,) = client.get("/v2.0/security-groups", "other")["security_groups"]
    assert group["name"] == "default"
    rules = sorted((rule["direction"], rule["ethertype"]) for rule in group["security_group_rules"])
    assert rules == [("egress", "IPv4"), ("egress", "IPv6"), ("ingress", "IPv4"), ("ingress", "IPv6")]
    assert {rule["remote_group_id"] for rule in group["security_group_rules"]} == {None, group["id"]}


def test_each_kind_that_may_be_shared_is_given_to_a_project(client: Client) -> None:
    made: dict[str, dict[str, Any]] = {
        "network": {},
        "security_group": {"name": "g"},
        "subnetpool": {"name": "p", "prefixes": ["10.0.0.0/16"]},
        "address_scope": {"name": "s", "ip_version": 4},
        "qos_policy": {"name": "q"},
        "address_group": {"name": "a"},
    }
    for resource in (each for each in RESOURCES if each.name in made):
        kind, member, path = resource.name, resource.member_name, f"/v2.0/{resource.path}"
        object_id = client.post(path, {member: made[kind]})[member]["id"]
        assert client.call("GET", f"{path}/{object_id}", user="other").status == 404
        policy = {"object_type": kind, "object_id": object_id, "target_tenant": OTHER, "action": "access_as_shared"}
        client.post("/v2.0/rbac-policies", {"rbac_policy": policy})
        shown = client.get(f"{path}/{object_id}", "other")[member]
        assert shown.get("shared") is (None if kind == "address_group" else True)  # Neutron does not show it
        assert client.call("GET", f"{path}/{object_id}", user="demo").status == 404
    others = {"rbac_policy": {**policy, "object_type": "port"}}
    assert client.call("POST", "/v2.0/rbac-policies", others).status == 400


def test_agents_tell_which_networks_and_routers_they_serve(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            network = await w.demo.network()
            found = (await w.demo.get(f"/network/v2.0/subnets?network_id={network}"))["subnets"]
            router = (await w.demo.post("/network/v2.0/routers", {"router": {"name": "r"}}))["router"]["id"]
            body = {"subnet_id": found[0]["id"]}
            await w.demo.request("PUT", f"/network/v2.0/routers/{router}/add_router_interface", body)

            async def ids(path: str, name: str) -> list[str]:
                return [each["id"] for each in (await w.admin.get(f"/network/v2.0/{path}"))[name]]

            agents = (await w.admin.get("/network/v2.0/agents"))["agents"]
            kinds = {each["agent_type"]: each["id"] for each in agents if each["host"] == "h1"}
            dhcp, l3 = kinds["DHCP agent"], kinds["L3 agent"]
            assert network in await ids(f"agents/{dhcp}/dhcp-networks", "networks")
            assert await ids(f"agents/{l3}/l3-routers", "routers") == [router]
            assert await ids(f"networks/{network}/dhcp-agents", "agents") == [dhcp]
            assert await ids(f"routers/{router}/l3-agents", "agents") == [l3]
            for ha, state in ((False, None), (True, "standby")):
                change = {"router": {"ha": ha, "admin_state_up": False}}
                await w.admin.request("PUT", f"/network/v2.0/routers/{router}", change)
                (agent,) = (await w.admin.get(f"/network/v2.0/routers/{router}/l3-agents"))["agents"]
                assert agent["ha_state"] == state

    run(test())


def test_there_is_one_zone_and_a_provider_of_each_kind(client: Client) -> None:
    zones = client.get("/v2.0/availability_zones")["availability_zones"]
    assert {(each["name"], each["resource"]) for each in zones} == {("nova", "network"), ("nova", "router")}
    listed = client.get("/v2.0/service-providers")["service_providers"]
    assert listed == [
        {"service_type": "L3_ROUTER_NAT", "name": name, "default": False}
        for name in ("dvrha", "dvr", "ha", "single_node")
    ]
    driver = "neutron.services.l3_router.service_providers.ha.HaDriver"
    (found,) = client.get(f"/v2.0/service-providers?driver={driver}")["service_providers"]
    assert found["name"] == "ha"


def test_availability_counts_what_is_taken(client: Client) -> None:
    network = client.network()["id"]
    client.subnet(network, "10.0.0.0/24", enable_dhcp=False)
    for _ in range(3):
        client.port(network)
    found = client.get(f"/v2.0/network-ip-availabilities/{network}")["network_ip_availability"]
    assert (found["total_ips"], found["used_ips"]) == (253, 3)
