"""tempest.conf of a running cloud: asked of the cloud itself, so that nothing is skipped or run that is not said there.

What the cloud's own lists tell (extensions, services, images, flavors, the network outside) is looked up; what no
list tells is in `_TOLD`, each with why.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openstack

_SERVICES = {
    "cinder": "block-storage",
    "neutron": "network",
    "glance": "image",
    "swift": "object-store",
    "nova": "compute",
    "horizon": "dashboard",
}
"""Tempest's names of services, and their types in the catalog."""

_TOLD: Mapping[str, Mapping[str, str]] = {
    "DEFAULT": {"debug": "false"},
    "identity": {"auth_version": "v3", "v3_endpoint_type": "public"},
    # What of Identity is not there says docs/api-coverage.md.
    "identity-feature-enabled": {"trust": "false"},
    "network": {"endpoint_type": "public", "build_interval": "1", "build_timeout": "60"},
    "network-feature-enabled": {"ipv6": "true", "ipv6_subnet_attributes": "true", "port_security": "true"},
    "compute": {"endpoint_type": "public", "build_interval": "1", "max_microversion": "latest"},
    "compute-feature-enabled": {
        "resize": "true",
        "cold_migration": "false",
        "live_migration": "false",
        "stable_rescue": "true",
    },
    "image": {"endpoint_type": "public"},
    "volume": {
        "catalog_type": "block-storage",
        "endpoint_type": "public",
        "build_interval": "1",
        "build_timeout": "90",
        "max_microversion": "latest",
        "disk_format": "raw",
        # What the driver `file` calls a disk that was given out of hand.
        "manage_volume_ref": "source-name,unmanaged-%s",
    },
    # What of Block Storage is not there says docs/api-coverage.md.
    "volume-feature-enabled": {
        "backup": "true",
        "manage_volume": "true",
        "manage_snapshot": "false",
        "extend_attached_volume": "true",
    },
    # Floating IPs lead to the sandbox's `outside`, and tempest runs out of it: guests are reached in tests/system.
    "validation": {"run_validation": "false"},
    # Of Neutron's plugin: networks with policies for everybody are made in a cloud that is for nothing else.
    "neutron_plugin_options": {"available_type_drivers": "flat,local,vlan,vxlan", "create_shared_resources": "true"},
}


def write(
    clouds: Path, folder: Path, earlier: Mapping[str, str], more: Mapping[str, Mapping[str, str]] | None = None
) -> Path:
    """Write tempest.conf into `folder`, for the cloud "admin" of a clouds.yaml; its path comes back.

    `earlier` has aliases that Neutron lists no more, by that of what took their place: tests still ask for them.
    `more` is what the operator of the cloud has set.
    """
    config = openstack.config.OpenStackConfig(config_files=[str(clouds)]).get_one("admin")
    connection = openstack.connection.Connection(config=config)
    sections = {name: dict(told) for name, told in _TOLD.items()}
    for name, found in (*_found(config, connection, earlier).items(), *(more or {}).items()):
        sections.setdefault(name, {}).update(found)
    sections["oslo_concurrency"] = {"lock_path": str(folder / "locks")}
    sections["DEFAULT"] |= {"log_dir": str(folder), "log_file": "tempest.log"}
    written = configparser.RawConfigParser(default_section="no section is the default of others")
    written.read_dict(sections)
    path = folder / "tempest.conf"
    with path.open("w") as file:
        path.chmod(0o600)  # it holds the administrator's password
        written.write(file)
    return path


def outside(clouds: Path) -> list[str]:
    """The networks of floating IPs."""
    config = openstack.config.OpenStackConfig(config_files=[str(clouds)]).get_one("admin")
    network = openstack.connection.Connection(config=config).network
    return [
        subnet.cidr
        for each in network.networks(is_router_external=True)
        for subnet in network.subnets(network_id=each.id, ip_version=4)
    ]


def _found(
    config: Any, connection: openstack.connection.Connection, earlier: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """What the cloud says of itself."""
    login = config.config["auth"]
    catalog = connection.session.auth.get_access(connection.session).service_catalog
    types = {entry["type"] for entry in catalog.catalog}
    (outside,) = connection.network.networks(is_router_external=True)
    aliases = [each.alias for each in connection.network.extensions()]
    agents = list(connection.network.agents())
    physical = {name for agent in agents for name in agent.configuration.get("bridge_mappings", ())}
    zones = {agent.availability_zone for agent in agents if agent.availability_zone}
    modes = {agent.configuration["agent_mode"] for agent in agents if "agent_mode" in agent.configuration}
    aliases += [name for alias, name in earlier.items() if alias in aliases]
    figures = next(connection.block_storage.backend_pools(details=True)).capabilities
    # Disks, and of all the smallest two.
    images = sorted((x for x in connection.image.images() if x.disk_format == "qcow2"), key=lambda x: (x.size, x.name))
    flavors = sorted(connection.compute.flavors(), key=lambda x: (x.ram, x.disk))
    return {
        "auth": {
            "admin_username": login["username"],
            "admin_password": login["password"],
            "admin_project_name": login["project_name"],
            "admin_domain_name": "Default",
        },
        "identity": {"uri_v3": login["auth_url"], "region": config.region_name},
        "service_available": {name: str(kind in types).lower() for name, kind in _SERVICES.items()},
        "network": {"public_network_id": outside.id, "floating_network_name": outside.name},
        "network-feature-enabled": {"api_extensions": ",".join(aliases)},
        "neutron_plugin_options": {
            "provider_vlans": ",".join(sorted(physical - {outside.provider_physical_network})),
            "agent_availability_zone": ",".join(zones),
            "l3_agent_mode": ",".join(modes),
        },
        "volume": {"vendor_name": figures["vendor_name"], "storage_protocol": figures["storage_protocol"]},
        "volume-feature-enabled": {
            "api_extensions": ",".join(each.alias for each in connection.block_storage.extensions())
        },
        "compute": {
            "image_ref": images[0].id,
            "image_ref_alt": images[1].id,
            "flavor_ref": flavors[0].id,
            "flavor_ref_alt": flavors[1].id,
        },
    }
