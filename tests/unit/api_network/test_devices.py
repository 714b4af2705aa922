"""What Compute asks of the network: ports, names and addresses of many devices, and letting go of a port."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event, select

from deuteron.model.errors import NotFound
from deuteron.rules.network import devices
from deuteron.store.schema import changes
from tests.unit.api_network.harness import CALLERS, DEMO, HOST, ZERO, cloud_in

ONE, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def test_many_devices_are_asked_for_with_four_queries(tmp_path: Path) -> None:
    with cloud_in(tmp_path) as client:
        network = client.network(name="inside")
        client.subnet(network["id"], "10.0.0.0/24")
        many = [f"33333333-3333-4333-8333-{n:012}" for n in range(40)]
        for device in (ONE, OTHER, *many):
            client.port(network["id"], device_id=device)
        port = client.port(network["id"], device_id=ONE)
        said: list[str] = []
        event.listen(client.cloud.database.engine, "before_cursor_execute", lambda *about: said.append(about[2]))
        with client.cloud.database.read() as tx:
            found = devices.plugged(tx, [ONE, *many])
        assert len(said) == 4
        assert len(found.ports) == 42 and port["id"] in found.ports
        assert {row["device_id"] for row in found.ports.values()} == {ONE, *many}
        assert found.ports[port["id"]]["fixed_ips"] == port["fixed_ips"]
        assert found.network_names == {network["id"]: "inside"}
        assert set(found.group_names.values()) == {"default"}
        said.clear()
        with client.cloud.database.read() as tx:
            assert devices.plugged(tx, []).ports == {}
        assert said == []


def test_a_port_is_let_go_in_one_change_that_hosts_hear_of(tmp_path: Path) -> None:
    with cloud_in(tmp_path) as client:
        network = client.network()
        client.subnet(network["id"], "10.0.0.0/24")
        values = {"device_id": ONE, "device_owner": "compute:nova", "binding:host_id": HOST}
        port = client.port(network["id"], "admin", **values, project_id=DEMO)
        store = client.cloud.database
        before = store.revision
        store.write(lambda tx: devices.detach(tx, client.cloud.settings, port["id"]))
        left = client.get(f"/v2.0/ports/{port['id']}")["port"]
        assert (left["device_id"], left["device_owner"], left["binding:host_id"]) == ("", "", "")
        assert (left["binding:vif_type"], left["fixed_ips"]) == ("unbound", port["fixed_ips"])
        assert left["revision_number"] == port["revision_number"] + 1
        with store.read() as tx:
            heard = tx.all(select(changes.c.kind, changes.c.object_id).where(changes.c.revision > before))
        assert heard == [("port", port["id"])]
        store.write(lambda tx: devices.detach(tx, client.cloud.settings, port["id"]))
        assert client.get(f"/v2.0/ports/{port['id']}")["port"] == left, "again is nothing"
        assert store.revision == before + 1
        with pytest.raises(NotFound):
            store.write(lambda tx: devices.detach(tx, client.cloud.settings, ZERO))


def test_a_project_is_offered_its_networks_and_shared_ones_that_have_a_subnet(tmp_path: Path) -> None:
    with cloud_in(tmp_path) as client:
        own, empty, shared = client.network(), client.network(), client.network("admin", shared=True)
        others, outside = client.network("other"), client.network("admin", **{"router:external": True})
        named = client.network("other")
        policy = {
            "object_type": "network",
            "object_id": named["id"],
            "action": "access_as_shared",
            "target_tenant": DEMO,
        }
        client.post("/v2.0/rbac-policies", {"rbac_policy": policy}, "other")
        for number, network in enumerate((own, shared, others, outside, named)):
            client.subnet(network["id"], f"10.{number}.0.0/24", "admin")
        with client.cloud.database.read() as tx:
            found = devices.networks_for(tx, CALLERS["demo"])
            assert [devices.has_subnet(tx, network["id"]) for network in (own, empty)] == [True, False]
        assert found == sorted(network["id"] for network in (own, shared, named))


def test_a_group_is_found_by_name_or_id_and_its_id_comes_first(tmp_path: Path) -> None:
    with cloud_in(tmp_path) as client:
        made = [
            client.post("/v2.0/security-groups", {"security_group": {"name": "web"}}, "demo")["security_group"]
            for _ in range(2)
        ]
        named = {"security_group": {"name": made[0]["id"]}}
        client.post("/v2.0/security-groups", named, "demo")
        with client.cloud.database.read() as tx:
            assert sorted(devices.groups_named(tx, DEMO, "web")) == sorted(group["id"] for group in made)
            assert devices.groups_named(tx, DEMO, made[0]["id"]) == [made[0]["id"]]
            assert devices.groups_named(tx, ZERO, made[0]["id"]) == []


def test_a_port_is_found_by_its_project_alone(tmp_path: Path) -> None:
    with cloud_in(tmp_path) as client:
        network = client.network(shared=True, user="admin")
        port = client.port(network["id"], "demo")
        with client.cloud.database.read() as tx:
            found = [devices.find_port(tx, CALLERS[name], port["id"]) for name in ("demo", "admin", "other")]
        assert [row is not None for row in found] == [True, True, False]


def test_rules_that_let_in_come_by_group(tmp_path: Path) -> None:
    with cloud_in(tmp_path) as client:
        ids = []
        for name in ("web", "ssh"):
            group = client.post("/v2.0/security-groups", {"security_group": {"name": name}}, "demo")["security_group"]
            ids.append(group["id"])
        rule = {"security_group_id": ids[0], "direction": "ingress", "protocol": "tcp"}
        made = client.post("/v2.0/security-group-rules", {"security_group_rule": rule}, "demo")["security_group_rule"]
        with client.cloud.database.read() as tx:
            found = devices.ingress_rules(tx, ids)
            assert [row["name"] for row in devices.groups(tx, ids)] in (["web", "ssh"], ["ssh", "web"])
        assert {group: [row["id"] for row in rows] for group, rows in found.items()} == {
            ids[0]: [made["id"]],
            ids[1]: [],
        }
