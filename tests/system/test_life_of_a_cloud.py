"""One cloud for each firewall: what is made is there, what is deleted leaves nothing, projects are apart."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from tests.clouds import Cloud, wait_for

pytestmark = pytest.mark.usefixtures("cloud")


def make_network(connection: Any, name: str, cidr: str) -> tuple[Any, Any]:
    network = connection.network.create_network(name=name)
    return network, connection.network.create_subnet(network_id=network.id, name=name, cidr=cidr, ip_version=4)


def boot(connection: Any, name: str, network: Any, **more: Any) -> Any:
    image = connection.image.find_image("tiny", ignore_missing=False)
    flavor = connection.compute.find_flavor("m1.nano", ignore_missing=False)
    server = connection.compute.create_server(
        name=name, image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}], **more
    )
    return connection.compute.wait_for_server(server, wait=90, interval=0.2)


def console(connection: Any, server: Any) -> str:
    return str(connection.compute.get_server_console_output(server, length=400)["output"])


def test_everything_deleted_in_reverse_order_returns_the_host_to_its_first_state(cloud: Cloud) -> None:
    before = cloud.host_state()
    demo = cloud.connect()
    network, subnet = make_network(demo, "leaves-nothing", "10.70.0.0/24")
    public = demo.network.find_network("public")
    router = demo.network.create_router(name="leaves-nothing", external_gateway_info={"network_id": public.id})
    demo.network.add_interface_to_router(router, subnet=subnet.id)
    server = boot(demo, "leaves-nothing", network)
    port = next(demo.network.ports(device_id=server.id))
    floating = demo.network.create_ip(floating_network_id=public.id, port_id=port.id)
    during = wait_for(
        "the router's rules", lambda: cloud.host_state(), lambda state: any("qrouter" in n for n in state["namespaces"])
    )
    assert during != before

    demo.network.delete_ip(floating)
    demo.compute.delete_server(server)
    demo.compute.wait_for_delete(server, interval=0.2, wait=60)
    demo.network.update_router(router, external_gateway_info={})
    demo.network.remove_interface_from_router(router, subnet=subnet.id)
    demo.network.delete_router(router)
    demo.network.delete_network(network)
    wait_for("the first state", lambda: differences(before, cloud.host_state()), lambda found: not found, timeout_s=20)


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    lines = []
    for name in before:
        lines += [f"{name}: gone: {line}" for line in before[name] if line not in after[name]]
        lines += [f"{name}: left: {line}" for line in after[name] if line not in before[name]]
    return lines


def test_two_projects_with_the_same_addresses_do_not_see_each_other(cloud: Cloud) -> None:
    admin, demo = cloud.connect("admin"), cloud.connect()
    made = []
    script = """#!/bin/sh
ping -c 3 -W 1 10.10.10.2 >/dev/console 2>&1
ping -c 2 -W 1 10.10.10.9 >/dev/console 2>&1
echo "test: pings done" >/dev/console
"""
    user_data = base64.b64encode(script.encode()).decode()
    for connection in (demo, admin):
        network, _ = make_network(connection, "twin", "10.10.10.0/24")
        first = boot(connection, "twin-1", network)
        made.append((connection, network, first))
    # A second guest in the first project at an address that nobody has in the other.
    demo_network = made[0][1]
    port = demo.network.create_port(network_id=demo_network.id, fixed_ips=[{"ip_address": "10.10.10.9"}])
    image = demo.image.find_image("tiny", ignore_missing=False)
    flavor = demo.compute.find_flavor("m1.nano", ignore_missing=False)
    second = demo.compute.create_server(
        name="twin-9", image_id=image.id, flavor_id=flavor.id, networks=[{"port": port.id}]
    )
    second = demo.compute.wait_for_server(second, wait=90, interval=0.2)
    probes = []
    for connection, network, _ in made:
        probe = boot(connection, "twin-probe", network, user_data=user_data)
        probes.append(wait_for(
            f"the pings of {connection.config.name}", lambda c=connection, p=probe: console(c, p),
            lambda text: "test: pings done" in text,
        ))  # fmt: skip
    assert "64 bytes from 10.10.10.2" in probes[0]
    assert "64 bytes from 10.10.10.9" in probes[0]
    assert "64 bytes from 10.10.10.2" in probes[1], "the other project's own guest has the same address"
    assert "64 bytes from 10.10.10.9" not in probes[1], "the address exists in the first project only"
    addresses = {port.mac_address for port in admin.network.ports(network_id=made[1][1].id)}
    assert not addresses & {port.mac_address for port in demo.network.ports(network_id=demo_network.id)}
    assert [network.id for network in demo.network.networks(name="twin")] == [demo_network.id]
    for connection, network, _ in made:
        for server in connection.compute.servers(name="^twin"):
            connection.compute.delete_server(server)
            connection.compute.wait_for_delete(server, interval=0.2, wait=60)
        for left in connection.network.ports(network_id=network.id):
            if not left.device_owner:
                connection.network.delete_port(left)
        connection.network.delete_network(network)


def test_a_guest_gets_hostname_key_and_user_data_from_metadata_and_obeys_its_power_actions(cloud: Cloud) -> None:
    demo = cloud.connect()
    network, _ = make_network(demo, "metadata", "10.71.0.0/24")
    key = demo.compute.create_keypair(name="metadata-key")
    # It runs longer than the guest waits for it: its name stays.
    script = '#!/bin/sh\necho "test: user data of $(hostname)" >/dev/console\nsleep 30\n'
    user_data = base64.b64encode(script.encode()).decode()
    server = boot(demo, "meta-guest", network, key_name="metadata-key", user_data=user_data)
    wait_for("user data ran", lambda: console(demo, server), lambda text: "test: user data of meta-guest" in text)
    wait_for("the console is ready", lambda: console(demo, server), lambda text: "meta-guest login: ready" in text)
    demo.compute.stop_server(server)
    server = demo.compute.wait_for_server(server, status="SHUTOFF", wait=60, interval=0.2)
    assert "running" not in cloud.on("aio", "virsh list --all | grep -v warm-").split()
    demo.compute.start_server(server)
    server = demo.compute.wait_for_server(server, status="ACTIVE", wait=60, interval=0.2)
    wait_for("it boots again", lambda: console(demo, server), lambda text: text.count("test: user data") >= 1)
    demo.compute.reboot_server(server, "HARD")
    wait_for("the reboot is done", lambda: demo.compute.get_server(server), lambda found: found.task_state is None)

    second, _ = make_network(demo, "metadata-2", "10.72.0.0/24")
    interface = demo.compute.create_server_interface(server, net_id=second.id)
    wait_for("the new port is ACTIVE", lambda: demo.network.get_port(interface.port_id).status, lambda s: s == "ACTIVE")
    demo.compute.delete_server_interface(interface, server)
    wait_for("it is gone", lambda: list(demo.network.ports(network_id=second.id, device_id=server.id)), lambda p: not p)
    demo.compute.delete_server(server)
    demo.compute.wait_for_delete(server, interval=0.2, wait=60)
    demo.compute.delete_keypair(key)
    demo.network.delete_network(network)
    demo.network.delete_network(second)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("server create --image nothing --flavor m1.nano --network public x", r"No [Ii]mage (found|with a)"),
        ("server create --image tiny --flavor nothing --network public x", r"No [Ff]lavor (found|with a)"),
        ("server create --image tiny --flavor m1.nano --network nothing x", r"No [Nn]etwork (found|with a)"),
        ("network show nothing", r"No Network found for nothing|could not be found"),
        ("network create --provider-network-type vlan x", r"disallowed by policy|Forbidden"),
        ("subnet create --network public --subnet-range 10.0.0.0/33 x", r"not a valid|Invalid input|disallowed"),
        ("router delete nothing", r"nothing"),
        ("flavor create --ram 64 --disk 0 --vcpus 1 x", r"(?i)polic|forbidden"),
    ],
)  # fmt: skip
def test_mistakes_are_answered_as_openstack_answers_them(cloud: Cloud, command: str, answer: str) -> None:
    done = cloud.openstack(command, check=False)
    assert done.returncode == 1, done.stdout
    assert re.search(answer, done.stderr + done.stdout), done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_up_changes_nothing_and_a_restart_brings_the_same_cloud_back(cloud: Cloud) -> None:
    demo = cloud.connect()
    network, _ = make_network(demo, "survivor", "10.73.0.0/24")
    server = boot(demo, "survivor", network)
    cloud.run("up")
    assert demo.compute.get_server(server).status == "ACTIVE"
    cloud.run("down")
    assert cloud.run("status", "--json", check=False).stdout
    cloud.run("up")
    again = cloud.connect()
    assert [found.id for found in again.network.networks(name="survivor")] == [network.id]
    wait_for("the guest runs again", lambda: again.compute.get_server(server).status, lambda s: s == "ACTIVE")
    wait_for(
        "its port is wired again",
        lambda: [port.status for port in again.network.ports(device_id=server.id)],
        lambda found: found == ["ACTIVE"],
    )
    again.compute.delete_server(server)
    again.compute.wait_for_delete(server, interval=0.2, wait=60)
    again.network.delete_network(network)
