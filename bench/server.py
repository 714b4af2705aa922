"""Part `server`: a server through the Compute API beside the same guest started by hand.

By hand means: the port is wired already, and from a copy of the domain's XML a shell makes the overlay of the disk
(`qemu-img create`) and starts the domain (`virsh create`). What differs is our API, agent and compute driver. Both are
pinged each 10 ms from a port of the same network. The two are taken in turns, so that a busy machine hits both.

They boot `tiny-tools`, which is `tiny` with a larger disk: servers of `tiny` go on from a saved machine once there is
one. How long both take until ssh greets is measured in turns as well, from the network's DHCP namespace.
"""

from __future__ import annotations

import re
import shlex
import sys
import time
import uuid
from typing import Any

from bench.client import Client
from bench.clouds import HOST, Cloud, Failed
from bench.figures import Book
from bench.wire import Guests, guests_on, network, port, prepare, wait_active

_TIMEOUT_S = 180.0


def run(book: Book, cloud: Cloud, times: int) -> None:
    credentials = cloud.log_in()
    client = Client(credentials)
    nova = Client(credentials, "/compute/v2.1")
    cold, warm = (
        Client(credentials, "/image/v2").call("GET", f"/images?name={name}")["images"][0]["id"]
        for name in ("tiny-tools", "tiny")
    )
    flavor = min(nova.call("GET", "/flavors/detail")["flavors"], key=lambda each: each["ram"])["id"]
    prepare(client)
    network_id, _ = network(client, "10.90.0.0/24")
    wish = {"imageRef": cold, "flavorRef": flavor, "networks": [{"uuid": network_id}], "name": "bench"}
    with guests_on(cloud, HOST) as guests:
        eye = port(client, network_id)
        wait_active(client, eye["id"])
        tap = guests.attach(eye)
        _boot(nova, wish, guests, tap, cloud)  # the image's way into the host's cache is not measured
        active, pinged, hand_active, hand_pinged = [], [], [], []
        for _ in range(times):
            seconds, xml = _boot(nova, wish, guests, tap, cloud)
            active.append(seconds[0] * 1000)
            pinged.append(seconds[1] * 1000)
            by_hand = _boot_by_hand(client, network_id, guests, tap, cloud, xml)
            hand_active.append(by_hand[0] * 1000)
            hand_pinged.append(by_hand[1] * 1000)
        cloud.deuteron("openstack", "--os-cloud", "admin", "image", "set", "--property", "hw_warm_start=true", "tiny")
        _greetings(book, client, nova, {**wish, "imageRef": warm}, cold, guests, tap, cloud, times)
    book.add("server: POST to ACTIVE", active)
    book.add("server: POST to first ping", pinged)
    book.add("by hand: until virsh create returns", hand_active)
    book.add("by hand: until first ping", hand_pinged)
    book.add("server: ACTIVE after by hand", [a - b for a, b in zip(active, hand_active, strict=True)])
    book.add("server: first ping after by hand", [a - b for a, b in zip(pinged, hand_pinged, strict=True)])


def _boot(
    nova: Client, wish: dict[str, Any], guests: Guests, tap: str, cloud: Cloud
) -> tuple[tuple[float, float], str]:
    """Seconds to ACTIVE and to the first ping, and the XML its domain was made from. The server is gone afterwards."""
    begun = time.monotonic()
    server_id = nova.call("POST", "/servers", {"server": wish})["server"]["id"]
    while (server := nova.call("GET", f"/servers/{server_id}")["server"])["status"] != "ACTIVE":
        if server["status"] == "ERROR" or time.monotonic() - begun > _TIMEOUT_S:
            raise Failed(f"server {server_id} is {server['status']}: {server.get('fault')}")
        time.sleep(0.01)
    active_s = time.monotonic() - begun
    address = next(iter(server["addresses"].values()))[0]["addr"]
    pinged_s = guests.tell(do="ping", tap=tap, to=address)["at_s"] - begun
    xml = (cloud.folder / "hosts" / HOST / "instances" / server_id / "libvirt.xml").read_text()
    nova.call("DELETE", f"/servers/{server_id}")
    while any(each["id"] == server_id for each in nova.call("GET", "/servers")["servers"]):
        if time.monotonic() - begun > _TIMEOUT_S:
            raise Failed(f"server {server_id} is not deleted")
        time.sleep(0.05)
    return (active_s, pinged_s), xml


def _greetings(
    book: Book,
    client: Client,
    nova: Client,
    wish: dict[str, Any],
    cold: str,
    guests: Guests,
    tap: str,
    cloud: Cloud,
    times: int,
) -> None:
    """Until ssh greets: of servers of an image that has a saved machine, and of one that has none."""
    group = client.call("GET", "/security-groups?name=default")["security_groups"][0]["id"]
    client.make("security_group_rule", security_group_id=group, direction="ingress", protocol="tcp", ethertype="IPv4")
    _boot(nova, wish, guests, tap, cloud)
    deadline = time.monotonic() + _TIMEOUT_S
    while not list((cloud.folder / "hosts" / HOST / "warm").glob("[0-9a-f]*/machine")):
        if time.monotonic() > deadline:
            raise Failed("no machine was saved to go on from")
        time.sleep(0.1)
    greeted: dict[str, list[float]] = {cold: [], wish["imageRef"]: []}
    for _ in range(2 * times):
        for image in greeted:
            greeted[image].append(_greeted(nova, {**wish, "imageRef": image}, guests) * 1000)
    book.add("server: POST to ssh, booted", greeted[cold])
    book.add("server: POST to ssh, warm", greeted[wish["imageRef"]])


_GREET = """
import socket, sys, time
while True:
    try:
        with socket.create_connection((sys.argv[1], 22), 0.3) as line:
            line.settimeout(5)
            if line.recv(4) == b"SSH-":
                break
    except OSError:
        time.sleep(0.01)
"""


def _greeted(nova: Client, wish: dict[str, Any], guests: Guests) -> float:
    """Seconds until ssh greets. The server is gone afterwards."""
    begun = time.monotonic()
    server_id = nova.call("POST", "/servers", {"server": wish})["server"]["id"]
    while not (addresses := nova.call("GET", f"/servers/{server_id}")["server"]["addresses"]):
        if time.monotonic() - begun > _TIMEOUT_S:
            raise Failed(f"server {server_id} has no address")
        time.sleep(0.01)
    address = next(iter(addresses.values()))[0]["addr"]
    look = shlex.join([sys.executable, "-I", "-S", "-c", _GREET, address])
    namespace = f"qdhcp-{wish['networks'][0]['uuid']}"
    answer = guests.tell(do="run", command=f"timeout {_TIMEOUT_S:.0f} ip netns exec {namespace} {look}")
    if answer["status"]:
        raise Failed(f"ssh of server {server_id}: {answer['output']}")
    nova.call("DELETE", f"/servers/{server_id}")
    while any(each["id"] == server_id for each in nova.call("GET", "/servers")["servers"]):
        if time.monotonic() - begun > 2 * _TIMEOUT_S:
            raise Failed(f"server {server_id} is not deleted")
        time.sleep(0.05)
    return float(answer["at_s"]) - begun


def _boot_by_hand(
    client: Client, network_id: str, guests: Guests, tap: str, cloud: Cloud, xml: str
) -> tuple[float, float]:
    """Seconds until `virsh create` returned and to the first ping."""
    made = port(client, network_id)
    wait_active(client, made["id"])
    server_id, new_id = _first(r"<uuid>(.+?)</uuid>", xml), str(uuid.uuid4())
    folder = cloud.folder / "hosts" / HOST / "by-hand" / new_id
    backing = guests.tell(do="run", command=f"ls -t {cloud.folder}/hosts/{HOST}/images")["output"].split()
    text = re.sub(r"(?s)<metadata.*?</metadata>", "", xml)
    text = re.sub(r"<name>.*?</name>", f"<name>by-hand-{new_id[:8]}</name>", text)
    text = re.sub(r"<mac address=.*?/>", f"<mac address='{made['mac_address']}'/>", text)
    text = re.sub(r"tap[0-9a-f-]{11}", f"tap{made['id'][:11]}", text)
    text = text.replace(f"/instances/{server_id}/", f"/by-hand/{new_id}/").replace(server_id, new_id)
    kept = {name for name in backing if name in text}  # kernel and RAM disk are named in the XML, the disk is not
    disk = next(name for name in backing if name not in kept and "." not in name)
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # the host is another identity than who runs this
    (folder / "domain.xml").write_text(text)
    base = f"{cloud.folder}/hosts/{HOST}/images/{disk}"
    command = f"qemu-img create -q -f qcow2 -F qcow2 -b {base} {folder}/disk && virsh create {folder}/domain.xml"
    begun = time.monotonic()
    answer = guests.tell(do="run", command=command)
    if answer["status"]:
        raise Failed(f"by hand: {answer['output']}")
    created_s = answer["at_s"] - begun
    pinged_s = guests.tell(do="ping", tap=tap, to=made["fixed_ips"][0]["ip_address"])["at_s"] - begun
    guests.tell(do="run", command=f"virsh destroy by-hand-{new_id[:8]}")
    client.call("DELETE", f"/ports/{made['id']}")
    return created_s, pinged_s


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise Failed(f"the domain's XML has no {pattern}")
    return found[1]
