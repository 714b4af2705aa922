"""Makes a running cloud look as devstack leaves one, for the functional tests of openstacksdk and of its client.

    .venv/bin/python -m tests.clients.devstack STATE_DIR clouds.yaml

What those look for by name is made where it is missing: people, a project of another, networks of both IP versions,
pools of subnets, a type of volumes, flavors, and an image `cirros-…`, which is the tiny guest. The clouds.yaml that is
written has the names of clouds that they ask for. How they are run says docs/contributing.md.
"""

from __future__ import annotations

import argparse
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import openstack
import yaml
from openstack.connection import Connection

IMAGE = "cirros-0.6.3-x86_64-disk"
FLAVOR = "cirros256"
_NOT_DEVSTACKS = ("m1.nano", "m1.micro")
"""Flavors that are Tempest's there, and made later: tests of ranges count what is found."""
_POOLS = ((4, "10.2.0.0/22", 26), (6, "fd01:2::/56", 64))


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.clients.devstack", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("state", type=Path, help="the cloud's folder")
    parser.add_argument("out", type=Path, help="the clouds.yaml to write")
    asked = parser.parse_args()
    known = yaml.safe_load((asked.state / "clouds.yaml").read_text())["clouds"]
    config = openstack.config.OpenStackConfig(config_files=[str(asked.state / "clouds.yaml")])
    admin, demo = (Connection(config=config.get_one(name)) for name in ("admin", "demo"))
    password = secrets.token_urlsafe(12)
    make_people(admin, password)
    make_networks(admin, demo)
    make_rest(admin)
    url, of_admin = known["admin"]["auth"]["auth_url"], known["admin"]["auth"]["password"]
    clouds = {
        "devstack": _cloud(url, "demo", known["demo"]["auth"]["password"], project="demo"),
        "devstack-alt": _cloud(url, "alt_demo", password, project="alt_demo"),
        "devstack-admin": _cloud(url, "admin", of_admin, project="admin"),
        "devstack-admin-demo": _cloud(url, "admin", of_admin, project="demo"),
        "devstack-system-admin": _cloud(url, "admin", of_admin),
    }
    with os.fdopen(os.open(asked.out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        yaml.safe_dump({"clouds": clouds, "functional": {"image_name": IMAGE, "flavor_name": FLAVOR}}, file)


def make_people(admin: Connection, password: str) -> None:
    identity = admin.identity
    role = identity.find_role("anotherrole") or identity.create_role(name="anotherrole")
    member, demo = identity.find_role("member"), identity.find_user("demo")
    other, hidden = (
        identity.find_project(name) or identity.create_project(name=name, domain_id="default")
        for name in ("alt_demo", "invisible_to_admin")
    )
    alt = identity.find_user("alt_demo")
    if alt is None:
        alt = identity.create_user(name="alt_demo", password=password, domain_id="default")
    else:
        identity.update_user(alt, password=password)
    for project, user, given in (
        (other, alt, member),
        (other, alt, role),
        (identity.find_project("demo"), demo, role),
        (hidden, demo, member),
    ):
        identity.assign_project_role_to_user(project, user, given)


def make_networks(admin: Connection, demo: Connection) -> None:
    network = admin.network
    public = network.find_network("public", ignore_missing=False)
    network.update_network(public, is_default=True)
    if not list(network.subnets(network_id=public.id, ip_version=6)):
        network.create_subnet(
            network_id=public.id, name="ipv6-public-subnet", ip_version=6, cidr="2001:db8::/64", is_dhcp_enabled=False
        )
    for version, prefix, length in _POOLS:
        name = f"shared-default-subnetpool-v{version}"
        if network.find_subnet_pool(name) is None:
            network.create_subnet_pool(
                name=name, prefixes=[prefix], default_prefixlen=length, is_shared=True, is_default=True
            )
    mine = demo.network
    if mine.find_network("private") is None:
        private = mine.create_network(name="private")
        subnet = mine.create_subnet(network_id=private.id, name="private-subnet", ip_version=4, cidr="10.1.0.0/26")
        router = mine.create_router(name="router1", external_gateway_info={"network_id": public.id})
        mine.add_interface_to_router(router, subnet_id=subnet.id)


def make_rest(admin: Connection) -> None:
    if admin.block_storage.find_type("lvmdriver-1") is None:
        admin.block_storage.create_type(name="lvmdriver-1")
    for name in _NOT_DEVSTACKS:
        admin.compute.delete_flavor(admin.compute.find_flavor(name) or name, ignore_missing=True)
    if admin.compute.find_flavor(FLAVOR) is None:
        admin.compute.create_flavor(name=FLAVOR, ram=256, disk=1, vcpus=1)
    if admin.image.find_image(IMAGE) is None:
        tiny = admin.image.find_image("tiny-disk", ignore_missing=False)
        with tempfile.NamedTemporaryFile() as file:
            admin.image.download_image(tiny, output=file.name)
            admin.image.create_image(
                IMAGE, filename=file.name, disk_format="qcow2", container_format="bare", visibility="public"
            )


def _cloud(url: str, user: str, password: str, *, project: str | None = None) -> dict[str, Any]:
    scope = {"system_scope": "all"} if project is None else {"project_name": project, "project_domain_id": "default"}
    auth = {"auth_url": url, "username": user, "password": password, "user_domain_id": "default", **scope}
    return {"auth": auth, "region_name": "RegionOne", "interface": "public"}


if __name__ == "__main__":
    main()
