"""Intents for tests: a routed VLAN network with DHCP, an external network, and as many instance ports as wanted."""

from __future__ import annotations

from deuteron.model.intent import (
    FixedIp,
    FloatingIp,
    HostIntent,
    HostSettings,
    IntentGroupMember,
    IntentNetwork,
    IntentPort,
    IntentRouter,
    IntentRule,
    IntentSecurityGroup,
    IntentSubnet,
    RouterGateway,
    RouterPort,
)


def uid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


NET, EXTERNAL, SUBNET, EXTERNAL_SUBNET = uid(1), uid(9), uid(3), uid(33)
DHCP_PORT, ROUTER, ROUTER_PORT, GATEWAY_PORT, GROUP = uid(2), uid(5), uid(6), uid(7), uid(8)
FIRST_PORT = 100


def settings(state_dir: str, **changes: str) -> HostSettings:
    return HostSettings(
        host="aio",
        state_dir=state_dir,
        api_socket=changes.pop("api_socket", f"{state_dir}/api.sock"),
        token="secret-token",
        bridge_mappings={"physnet1": "br-eth2", "public": "br-ex"},
        bridge_ports={"br-eth2": "eth2", "br-ex": "eth3"},
        tunnel_ip="127.0.0.1",
        **changes,  # type: ignore[arg-type]  # literal strings
    )


def _mac(number: int) -> str:
    return f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}"


def _port(number: int, network: str, subnet: str, address: str, owner: str, ofport: int, **more: object) -> IntentPort:
    return IntentPort(
        id=uid(number),
        network_id=network,
        project_id="p",
        mac_address=_mac(number),
        fixed_ips=(FixedIp(subnet, address),),
        device_owner=owner,
        ofport=ofport,
        **more,  # type: ignore[arg-type]  # fields of IntentPort
    )


def instance_port(number: int) -> IntentPort:
    return _port(
        FIRST_PORT + number,
        NET,
        SUBNET,
        f"10.10.1.{number + 1}",
        "compute:nova",
        FIRST_PORT + number,
        security_groups=(GROUP,),
        device_id=uid(1000 + number),
    )


def routed_network(ports: int = 0, revision: int = 1, router: bool = True) -> HostIntent:
    """A network 10.10.0.0/16 with DHCP, a router with a gateway and one floating IP, and `ports` instance ports."""
    network = IntentNetwork(
        id=NET,
        project_id="p",
        name="net1",
        network_type="vlan",
        physical_network="physnet1",
        segmentation_id=1000,
        mtu_bytes=1500,
        local_vlan=1,
        dhcp_port_id=DHCP_PORT,
        routed_by=ROUTER if router else None,
        subnets=(IntentSubnet(id=SUBNET, ip_version=4, cidr="10.10.0.0/16", gateway_ip="10.10.0.1", enable_dhcp=True),),
    )
    external = IntentNetwork(
        id=EXTERNAL,
        project_id="p",
        name="public",
        network_type="flat",
        physical_network="public",
        segmentation_id=None,
        mtu_bytes=1500,
        local_vlan=2,
        external=True,
        subnets=(IntentSubnet(id=EXTERNAL_SUBNET, ip_version=4, cidr="172.24.4.0/24", gateway_ip="172.24.4.1"),),
    )
    all_ports = [_port(2, NET, SUBNET, "10.10.0.2", "network:dhcp", 16, port_security_enabled=False)]
    if router:
        all_ports += [
            _port(
                6,
                NET,
                SUBNET,
                "10.10.0.1",
                "network:router_interface",
                17,
                device_id=ROUTER,
                port_security_enabled=False,
            ),
            _port(
                7,
                EXTERNAL,
                EXTERNAL_SUBNET,
                "172.24.4.10",
                "network:router_gateway",
                18,
                device_id=ROUTER,
                port_security_enabled=False,
            ),
        ]
    instances = [instance_port(number) for number in range(ports)]
    group = IntentSecurityGroup(
        id=GROUP,
        rules=(
            IntentRule(id=uid(81), direction="egress", ethertype="IPv4"),
            IntentRule(id=uid(82), direction="ingress", ethertype="IPv4", remote_group_id=GROUP),
            IntentRule(id=uid(84), direction="ingress", ethertype="IPv4", protocol=1),
        ),
    )
    one_router = IntentRouter(
        id=ROUTER,
        project_id="p",
        interfaces=(RouterPort(ROUTER_PORT, NET, _mac(6), ("10.10.0.1/16",), 1500),),
        gateway=RouterGateway(
            RouterPort(GATEWAY_PORT, EXTERNAL, _mac(7), ("172.24.4.10/24",), 1500), gateway_ips=("172.24.4.1",)
        ),
        floating_ips=(FloatingIp(uid(90), "172.24.4.20", "10.10.1.1"),),
    )
    return HostIntent(
        revision=revision,
        networks={item.id: item for item in ((network, external) if router else (network,))},
        ports={port.id: port for port in (*all_ports, *instances)},
        security_groups={GROUP: group},
        group_members={
            f"{GROUP}/{port.id}": IntentGroupMember(
                id=f"{GROUP}/{port.id}", group_id=GROUP, port_id=port.id, addresses=(port.fixed_ips[0].ip_address,)
            )
            for port in instances
        },
        routers={ROUTER: one_router} if router else {},
    )
