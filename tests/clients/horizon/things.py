"""One of each thing that a cloud may hold, made by the official library, for the pages of each to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openstack.connection import Connection

from tests.clouds import wait_for

NAME = "shown"


@dataclass(frozen=True)
class Things:
    """What stands for a parameter of an address."""

    anywhere: Mapping[str, str]
    below: Mapping[str, Mapping[str, str]]
    """By the beginning of an address, where a parameter means something else than elsewhere."""
    queries: Mapping[str, str]
    """By address: what a page has to be asked, that its address does not tell."""

    def of(self, path: str) -> dict[str, str]:
        found = dict(self.anywhere)
        for beginning, own in self.below.items():
            found |= own if path.startswith(beginning) else {}
        return found


def make(demo: Connection, admin: Connection) -> Things:
    """All of it belongs to demo; what only an administrator may make, to the administrator."""
    made = {**_networks(demo, admin), **_volumes(demo, admin)}
    server = demo.compute.create_server(
        name=NAME,
        image_id=demo.image.find_image("tiny").id,
        flavor_id=demo.compute.find_flavor("m1.nano").id,
        networks=[{"port": made["port_id"]}],
    )
    keypair = demo.compute.create_keypair(name=NAME)
    group = demo.compute.create_server_group(name=NAME, policies=["soft-anti-affinity"])
    hypervisor = next(iter(admin.compute.hypervisors()))
    aggregate = admin.compute.create_aggregate(name=NAME)
    project, user = demo.current_project_id, demo.current_user_id
    blob = '{"access": "a", "secret": "b"}'
    credential = admin.identity.create_credential(user_id=user, project_id=project, type="ec2", blob=blob)
    demo.compute.wait_for_server(server, wait=120)
    return Things(
        {
            **made,
            "instance_id": server.id,
            "server_id": server.id,
            "keypair_name": keypair.name,
            "servergroup_id": group.id,
            "hypervisor": f"{hypervisor.id}_{hypervisor.name}",
            "compute_host": hypervisor.name,
            "image_id": demo.image.find_image("tiny").id,
            "flavor_id": demo.compute.find_flavor("m1.nano").id,
            "aggregate_id": str(aggregate.id),
            "project_id": project,
            "tenant_id": project,
            "user_id": user,
            "domain_id": "default",
            "role_id": admin.identity.find_role("member").id,
            "group_id": made["volume_group_id"],
            "credential_id": credential.id,
            "application_credential_id": demo.identity.create_application_credential(user, NAME).id,
        },
        {
            "admin/aggregates": {"id": str(aggregate.id)},
            "admin/flavors": {"id": demo.compute.find_flavor("m1.nano").id},
            "admin/metadata_defs": {"id": "OS::Compute::Quota", "namespace_id": "OS::Compute::Quota"},
            "admin/volume_types": {"type_id": made["volume_type_id"], "key": "our:key"},
            "admin/group_types": {"type_id": made["group_type_id"], "key": "our:key"},
            "identity/groups": {"group_id": admin.identity.create_group(name=NAME, domain_id="default").id},
            "identity/application_credentials": {
                "application_credential_id": admin.identity.create_application_credential(
                    admin.current_user_id, NAME
                ).id
            },
            "api/nova/features": {"name": "multiattach"},
            "api/nova/keypairs": {"name": NAME},
            "api/keystone/users": {"id": "current"},
            "api/keystone/roles": {"id": "default"},
            "api/keystone/domains": {"id": "default"},
            "api/keystone/groups": {"id": admin.identity.create_group(name=f"{NAME} too", domain_id="default").id},
            "api/keystone/projects": {"id": project},
        },
        {
            "project/floating_ip_portforwardings/show": f"?floating_ip_id={made['forwarded_id']}",
            "project/floating_ip_portforwardings/create/": f"?floating_ip_id={made['forwarded_id']}",
            "project/floating_ip_portforwardings/edit/": (
                f"?floating_ip_id={made['forwarded_id']}&pfwd_id={made['forwarding_id']}"
            ),
            "project/floating_ip_portforwardings/editToAll/": (
                f"?floating_ip_id={made['forwarded_id']}&pfwd_id={made['forwarding_id']}"
            ),
            "api/glance/metadefs/namespaces/": "?resource_type=OS::Nova::Server",
        },
    )


def _networks(demo: Connection, admin: Connection) -> dict[str, str]:
    network = demo.network.create_network(name=NAME)
    subnet = demo.network.create_subnet(network_id=network.id, cidr="10.9.0.0/24", ip_version=4, name=NAME)
    outside = next(iter(demo.network.networks(is_router_external=True)))
    router = demo.network.create_router(name=NAME, external_gateway_info={"network_id": outside.id})
    demo.network.add_interface_to_router(router, subnet_id=subnet.id)
    group = demo.network.create_security_group(name=NAME)
    rule = demo.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=80, port_range_max=80
    )
    port, other, parent = (demo.network.create_port(network_id=network.id, name=f"{NAME} {n}") for n in range(3))
    floating = demo.network.create_ip(floating_network_id=outside.id, port_id=port.id)
    forwarded = demo.network.create_ip(floating_network_id=outside.id)
    forwarding = demo.network.create_floating_ip_port_forwarding(
        forwarded.id,
        internal_port_id=other.id,
        internal_ip_address=other.fixed_ips[0]["ip_address"],
        internal_port=22,
        external_port=2222,
        protocol="tcp",
    )
    trunk = demo.network.create_trunk(port_id=parent.id, name=NAME)
    policy = admin.network.create_qos_policy(name=NAME, is_shared=True)
    limit = admin.network.create_qos_bandwidth_limit_rule(policy.id, max_kbps=1000)
    shared = admin.network.create_rbac_policy(
        object_type="network", object_id=network.id, action="access_as_shared", target_tenant=admin.current_project_id
    )
    agent = next(agent for agent in admin.network.agents() if agent.agent_type == "L3 agent")
    return {
        "network_id": network.id,
        "subnet_id": subnet.id,
        "router_id": router.id,
        "security_group_id": group.id,
        "port_id": port.id,
        "floating_ip_id": floating.id,
        "forwarded_id": forwarded.id,
        "forwarding_id": forwarding.id,
        "trunk_id": trunk.id,
        "policy_id": policy.id,
        "rbac_policy_id": shared.id,
        "l3_agent_id": agent.id,
        "rule_id": rule.id,
        "limit_id": limit.id,
    }


def _volumes(demo: Connection, admin: Connection) -> dict[str, str]:
    kind = admin.block_storage.create_type(name=NAME)
    admin.block_storage.update_type_extra_specs(kind, **{"our:key": "value"})
    group_kind = admin.block_storage.create_group_type(name=NAME)
    admin.block_storage.create_group_type_group_specs(group_kind, {"our:key": "value"})
    group = demo.block_storage.create_group(name=NAME, group_type=group_kind.id, volume_types=[kind.id])
    wait_for("a group", lambda: demo.block_storage.get_group(group).status, lambda seen: seen == "available")
    volume, given, member = (
        demo.block_storage.create_volume(size=1, name=f"{NAME} {n}", **more)
        for n, more in enumerate(({}, {}, {"volume_type": kind.id, "group_id": group.id}))
    )
    for each in (volume, given, member):
        demo.block_storage.wait_for_status(each, "available", wait=60)
    snapshot = demo.block_storage.create_snapshot(volume_id=volume.id, name=NAME)
    demo.block_storage.wait_for_status(snapshot, "available", wait=60)
    of_group = demo.block_storage.create_group_snapshot(group_id=group.id, name=NAME)
    figures: Any = {"qos_specs": {"name": NAME, "consumer": "back-end", "key": "value"}}
    qos = admin.block_storage.post("/qos-specs", json=figures).json()["qos_specs"]
    return {
        "volume_type_id": kind.id,
        "volumetype_id": kind.id,
        "group_type_id": group_kind.id,
        "volume_group_id": group.id,
        "volume_id": volume.id,
        "transfer_id": demo.block_storage.create_transfer(volume_id=given.id, name=NAME).id,
        "snapshot_id": snapshot.id,
        "volume_snapshot_id": snapshot.id,
        "backup_id": demo.block_storage.create_backup(volume_id=volume.id, name=NAME).id,
        "vg_snapshot_id": of_group.id,
        "qos_spec_id": qos["id"],
        "key": "key",
    }
