"""Flavors, key pairs, lists, versions, limits and refusals of the Compute API, in Nova's shapes and words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.unit.api_compute.harness import World, run, world

C = "/compute/v2.1"
SERVERS = f"{C}/servers"


def public_key() -> str:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32).public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


async def message(
    w: World, method: str, path: str, body: Any = None, version: str | None = None
) -> tuple[int, str, str]:
    """Status, name and message of an error."""
    answer = await w.demo.request(method, path, body, version=version)
    return answer.status, next(iter(answer.json)), answer.message


def test_versions_are_negotiated_in_both_spellings_and_refused_outside(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            document = (await w.demo.get("/compute/v2.1"))["version"]
            assert (document["min_version"], document["version"]) == ("2.1", "2.104")
            assert [item["id"] for item in (await w.demo.get("/compute/"))["versions"]] == ["v2.0", "v2.1"]
            assert (await w.demo.get("/compute/v2/servers"))["servers"] == []
            for headers in ({"x-openstack-nova-api-version": "2.26"}, {"openstack-api-version": "compute 2.26"}):
                answer = await w.demo.request("GET", SERVERS, headers=headers)
                assert answer.headers["openstack-api-version"] == "compute 2.26"
                assert answer.headers["x-openstack-nova-api-version"] == "2.26"
            latest = await w.demo.request("GET", SERVERS, version="latest")
            assert latest.headers["openstack-api-version"] == "compute 2.104"
            assert (await message(w, "GET", SERVERS, version="2.105"))[:2] == (406, "computeFault")
            assert (await message(w, "GET", SERVERS, version="two"))[:2] == (400, "badRequest")
            stranger = await w.demo.request("GET", SERVERS, headers={"x-auth-token": "x"})
            assert stranger.status == 401 and stranger.json["error"]["code"] == 401

    run(test())


def test_the_starter_flavors_are_there_and_administrators_make_more(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            names = [flavor["name"] for flavor in (await w.demo.get(f"{C}/flavors"))["flavors"]]
            assert {"m1.tiny", "m1.small", "m1.medium", "m1.large", "m1.xlarge", "m1.nano"} <= set(names)
            nano = (await w.demo.get(f"{C}/flavors/42"))["flavor"]
            assert (nano["ram"], nano["vcpus"], nano["disk"], nano["swap"]) == (128, 1, 1, "")
            assert (await w.demo.get(f"{C}/flavors/42", "2.75"))["flavor"]["swap"] == 0
            body = {"flavor": {"name": "mine", "ram": 64, "vcpus": 1, "disk": 0, "os-flavor-access:is_public": False}}
            assert (await message(w, "POST", f"{C}/flavors", body))[0] == 403
            made = (await w.admin.post(f"{C}/flavors", body))["flavor"]
            assert (await message(w, "GET", f"{C}/flavors/{made['id']}"))[0] == 404
            grant = {"addTenantAccess": {"tenant": w.demo.project_id}}
            await w.admin.post(f"{C}/flavors/{made['id']}/action", grant)
            assert (await w.demo.get(f"{C}/flavors/{made['id']}"))["flavor"]["name"] == "mine"
            await w.admin.post(f"{C}/flavors/{made['id']}/os-extra_specs", {"extra_specs": {"hw:x": "1"}})
            assert (await w.demo.get(f"{C}/flavors/{made['id']}", "2.61"))["flavor"]["extra_specs"] == {"hw:x": "1"}
            assert (await w.admin.request("DELETE", f"{C}/flavors/{made['id']}")).status == 202
            page = await w.demo.get(f"{C}/flavors?limit=2")
            assert len(page["flavors"]) == 2 and "marker=2" in page["flavors_links"][0]["href"]
            assert (await message(w, "GET", f"{C}/flavors?limit=-1"))[0] == 400

    run(test())


def test_key_pairs_are_imported_and_made(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            path, body = f"{C}/os-keypairs", {"keypair": {"name": "mine", "public_key": public_key()}}
            made = (await w.demo.post(path, body, status=200))["keypair"]
            assert len(made["fingerprint"]) == 47 and "private_key" not in made and "type" not in made
            assert (await message(w, "POST", path, body))[2] == "Key pair 'mine' already exists."
            fresh = (await w.demo.post(path, {"keypair": {"name": "new", "type": "ssh"}}, "2.2", 201))["keypair"]
            assert fresh["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----") and fresh["type"] == "ssh"
            assert [item["keypair"]["name"] for item in (await w.demo.get(path))["keypairs"]] == ["mine", "new"]
            assert (await w.admin.get(path))["keypairs"] == []
            assert (await w.demo.request("DELETE", f"{path}/new", version="2.2")).status == 204
            assert (await message(w, "GET", f"{path}/new"))[0] == 404
            bad = {"keypair": {"name": "bad", "public_key": "ssh-rsa nonsense"}}
            assert (await message(w, "POST", path, bad))[2].startswith("Keypair data is invalid")

    run(test())


def test_a_create_that_cannot_be_meant_is_refused_in_novas_words(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            image, network = await w.demo.image(), await w.demo.network()
            missing = "00000000-0000-4000-8000-000000000000"
            good = {"name": "vm", "flavorRef": "42", "imageRef": image}
            for change, status, words in (
                ({"imageRef": missing}, 400, "Can not find requested image"),
                ({"imageRef": "nonsense"}, 400, "Invalid imageRef provided."),
                ({"imageRef": ""}, 400, "Missing imageRef"),
                ({"flavorRef": "nosuch"}, 400, "Flavor nosuch could not be found."),
                ({"networks": [{"uuid": missing}]}, 400, f"Network {missing} could not be found."),
                ({"networks": [{"port": missing}]}, 400, f"Port id {missing} could not be found."),
                ({"networks": [{"uuid": "x"}]}, 400, "'x' is not a 'uuid'"),
                ({"key_name": "nosuch"}, 400, "Invalid key_name provided."),
                ({"security_groups": [{"name": "nosuch"}]}, 400, "Security group nosuch not found for project"),
                ({"name": ""}, 400, "Invalid input for field/attribute name. Value: ."),
                ({"name": "x" * 256}, 400, "is too long"),
                ({"metadata": {"k" * 256: "v"}}, 400, "Invalid input for field/attribute metadata"),
                ({"availability_zone": "mars"}, 400, "The requested availability zone is not available"),
                ({"availability_zone": "nova:h1"}, 403, "servers:create:forced_host"),
                ({"min_count": 3, "max_count": 2}, 400, "min_count must be <= max_count"),
                ({"user_data": "%%%"}, 400, "is not a 'base64'"),
                ({"nonsense": 1}, 400, "Additional properties are not allowed ('nonsense' was unexpected)"),
                ({"min_count": 11}, 403, "Quota exceeded for instances"),
                ({"accessIPv4": "::1"}, 400, "is not a 'ipv4'"),
                ({"networks": [{"uuid": network, "fixed_ip": "9.9.9.9"}]}, 400, "9.9.9.9"),
            ):
                answer = await w.demo.request("POST", SERVERS, {"server": {**good, **change}})
                assert (answer.status, words in answer.message) == (status, True), (change, answer.body)
            volume = [{"source_type": "volume", "destination_type": "volume", "uuid": missing, "boot_index": 0}]
            body = {"server": {**good, "block_device_mapping_v2": volume}}
            assert missing in (await message(w, "POST", SERVERS, body))[2]
            small = await w.demo.image(min_ram=4096)
            words = (await message(w, "POST", SERVERS, {"server": {**good, "imageRef": small}}))[2]
            assert words == "Flavor's memory is too small for requested image."
            public = (await w.admin.get("/network/v2.0/networks?router:external=true"))["networks"][0]["id"]
            body = {"server": {**good, "networks": [{"uuid": public}]}}
            assert (await message(w, "POST", SERVERS, body))[0] == 403
            await w.demo.network("net2", "20.20.20.0/24")
            assert (await message(w, "POST", SERVERS, {"server": good}))[0] == 409
            assert (await w.demo.get(SERVERS))["servers"] == []
            assert (await w.admin.get(f"/network/v2.0/ports?network_id={network}&device_owner=compute:nova"))[
                "ports"
            ] == []

    run(test())


def test_lists_filter_sort_and_page(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            image, other = await w.demo.image(), await w.demo.image(name="other")
            await w.demo.network()
            ids = {}
            for name, picture in (("alpha", image), ("beta", image), ("gamma", other)):
                ids[name] = await w.demo.boot(name=name, imageRef=picture)
                await w.demo.until_status(ids[name], "ACTIVE")
            await w.demo.action(ids["beta"], "os-stop")
            await w.demo.until_status(ids["beta"], "SHUTOFF")

            async def names(text: str) -> list[str]:
                return [server["name"] for server in (await w.demo.get(f"{SERVERS}{text}"))["servers"]]

            assert await names("") == ["gamma", "beta", "alpha"]
            assert await names("?name=alp") == ["alpha"]
            assert await names("?name=^(a|b)") == ["beta", "alpha"]
            assert await names("?status=shutoff") == ["beta"]
            assert await names("?status=nonsense") == []
            assert await names(f"?image={other}") == ["gamma"]
            assert await names("?flavor=42&sort_key=display_name&sort_dir=asc") == ["alpha", "beta", "gamma"]
            assert await names("?flavor=1") == []
            assert await names("?ip=10.10.10.2") == ["alpha"]
            assert await names("?changes-since=2099-01-01T00:00:00Z") == []
            assert len(await names("?changes-since=2020-01-01T00:00:00Z")) == 3
            assert await names("/detail?limit=1") == ["gamma"]
            assert await names(f"?marker={ids['gamma']}&limit=1") == ["beta"]
            page = await w.demo.get(f"{SERVERS}?limit=2")
            assert page["servers_links"][0]["rel"] == "next"
            for bad in ("limit=-2", "limit=x", "changes-since=x", "marker=nosuch", "sort_key=nosuch"):
                assert (await message(w, "GET", f"{SERVERS}?{bad}"))[0] == 400, bad
            assert (await message(w, "GET", f"{SERVERS}?all_tenants=1"))[0] == 403
            assert len((await w.admin.get(f"{SERVERS}?all_tenants=1"))["servers"]) == 3
            assert (await w.admin.get(SERVERS))["servers"] == []
            assert len((await w.admin.get(f"{SERVERS}?all_tenants=1&host=h1"))["servers"]) == 3
            assert (await w.admin.request("GET", f"{SERVERS}/{ids['beta']}")).status == 200

    run(test())


def test_a_server_shows_what_each_microversion_shows(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            await w.demo.network()
            await w.demo.post(f"{C}/os-keypairs", {"keypair": {"name": "k", "public_key": public_key()}})
            server = await w.demo.boot("2.52", name="My Server", imageRef=await w.demo.image(), key_name="k",
                                       networks="auto", metadata={"a": "b"}, tags=["t"], description="d")  # fmt: skip
            await w.demo.until_status(server, "ACTIVE")
            plain = await w.demo.server(server)
            assert set(plain["flavor"]) == {"id", "links"} and plain["key_name"] == "k" and plain["progress"] == 0
            assert not {"tags", "description", "locked", "OS-EXT-SRV-ATTR:host"} & set(plain)
            assert len(plain["hostId"]) == 56
            newest = await w.demo.server(server, "2.96")
            assert newest["flavor"]["original_name"] == "m1.nano" and newest["flavor"]["ram"] == 128
            assert (newest["tags"], newest["description"], newest["locked"]) == (["t"], "d", False)
            assert newest["OS-EXT-SRV-ATTR:hostname"] == "my-server" and newest["server_groups"] == []
            admin = await w.admin.server(server, "2.3")
            assert admin["OS-EXT-SRV-ATTR:host"] == "h1"
            assert admin["OS-EXT-SRV-ATTR:instance_name"] == f"instance-{server[:8]}"
            changed = await w.demo.request(
                "PUT", f"{SERVERS}/{server}", {"server": {"name": "new", "accessIPv4": "1.2.3.4"}}
            )
            assert (changed.status, changed.json["server"]["name"]) == (200, "new")
            assert "OS-EXT-STS:vm_state" not in changed.json["server"]
            assert (await w.demo.request("PUT", f"{SERVERS}/{server}", {"server": {"name": ""}})).status == 400
            at = f"{SERVERS}/{server}"
            assert (await w.demo.get(f"{at}/metadata"))["metadata"] == {"a": "b"}
            await w.demo.request("PUT", f"{at}/metadata/c", {"meta": {"c": "d"}})
            assert (await w.demo.get(f"{at}/metadata/c"))["meta"] == {"c": "d"}
            assert (await w.demo.request("DELETE", f"{at}/metadata/a")).status == 204
            assert (await message(w, "GET", f"{at}/metadata/a"))[:2] == (404, "itemNotFound")
            assert (await w.demo.request("PUT", f"{at}/tags/x", version="2.26")).status == 201
            assert (await w.demo.request("PUT", f"{at}/tags/x", version="2.26")).status == 204
            assert (await w.demo.get(f"{at}/tags", "2.26"))["tags"] == ["t", "x"]
            assert (await w.demo.request("GET", f"{at}/tags", version="2.1")).status == 404
            assert (await w.demo.get(f"{at}/ips"))["addresses"]["net1"] == [{"version": 4, "addr": "10.10.10.2"}]
            assert (await w.demo.get(f"{at}/os-volume_attachments"))["volumeAttachments"] == []
            action = (await w.demo.get(f"{at}/os-instance-actions", "2.51"))["instanceActions"][-1]
            shown = (await w.demo.get(f"{at}/os-instance-actions/{action['request_id']}", "2.51"))["instanceAction"]
            assert shown["events"][0]["result"] == "Success"

    run(test())


def test_hosts_are_shown_as_services_hypervisors_and_a_zone(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            assert (await w.admin.get(f"{C}/os-services?binary=nova-compute"))["services"] == [], "none ever connected"
            await w.agent("h1")
            await (await w.agent("h2")).leave()
            await w.forget("h2")
            services = (await w.admin.get(f"{C}/os-services?binary=nova-compute"))["services"]
            assert [(s["host"], s["state"], s["status"]) for s in services] == [
                ("h1", "up", "enabled"), ("h2", "down", "enabled"),
            ]  # fmt: skip
            body = {"status": "disabled", "disabled_reason": "repair"}
            service = (await w.admin.get(f"{C}/os-services?binary=nova-compute", "2.53"))["services"][0]
            answer = await w.admin.request("PUT", f"{C}/os-services/{service['id']}", body, version="2.53")
            assert answer.json["service"]["disabled_reason"] == "repair"
            found = (await w.admin.get(f"{C}/os-hypervisors/detail"))["hypervisors"]
            assert [(h["hypervisor_hostname"], h["vcpus"], h["status"]) for h in found] == [
                ("h1", 8, "disabled"), ("h2", 8, "enabled"),
            ]  # fmt: skip
            assert "vcpus" not in (await w.admin.get(f"{C}/os-hypervisors/detail", "2.88"))["hypervisors"][0]
            assert (await w.admin.get(f"{C}/os-hypervisors/statistics"))["hypervisor_statistics"]["count"] == 2
            searched = (await w.admin.get(f"{C}/os-hypervisors/h1/search"))["hypervisors"]
            assert [each["hypervisor_hostname"] for each in searched] == ["h1"]
            with_servers = (await w.admin.get(f"{C}/os-hypervisors/h/servers"))["hypervisors"]
            assert [each["hypervisor_hostname"] for each in with_servers] == ["h1", "h2"]
            for path, version in (("nosuch/search", "2.1"), ("nosuch/servers", "2.52"), ("h1/search", "2.53")):
                assert (await w.admin.request("GET", f"{C}/os-hypervisors/{path}", version=version)).status == 404
            zones = (await w.demo.get(f"{C}/os-availability-zone"))["availabilityZoneInfo"]
            assert zones == [{"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}]
            assert (await w.demo.request("GET", f"{C}/os-services")).status == 403

    run(test())


def test_limits_and_quotas_count_what_is_there(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.demo.boot(imageRef=await w.demo.image())
            limits = (await w.demo.get(f"{C}/limits"))["limits"]["absolute"]
            assert (limits["maxTotalInstances"], limits["totalInstancesUsed"], limits["totalRAMUsed"]) == (10, 1, 128)
            at = f"{C}/os-quota-sets/{w.demo.project_id}"
            assert (await w.demo.get(at))["quota_set"]["cores"] == 20
            assert (await w.demo.request("PUT", at, {"quota_set": {"instances": 1}})).status == 403
            assert (await w.admin.request("PUT", at, {"quota_set": {"instances": 1}})).status == 200
            body = {"server": {"name": "b", "flavorRef": "42", "imageRef": await w.demo.image()}}
            status, _, words = await message(w, "POST", SERVERS, body)
            assert status == 403
            assert words == "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances"
            assert (await w.demo.get(f"{at}/detail"))["quota_set"]["instances"] == {
                "limit": 1,
                "in_use": 1,
                "reserved": 0,
            }

    run(test())


def test_security_groups_by_the_old_proxy(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            at = f"{C}/os-security-groups"
            made = (await w.demo.post(at, {"security_group": {"name": "web", "description": "d"}}))["security_group"]
            rule = {
                "parent_group_id": made["id"],
                "ip_protocol": "tcp",
                "from_port": 22,
                "to_port": 22,
                "cidr": "0.0.0.0/0",
            }
            shown = await w.demo.post(f"{C}/os-security-group-rules", {"security_group_rule": rule})
            assert shown["security_group_rule"]["ip_range"] == {"cidr": "0.0.0.0/0"}
            assert shown["security_group_rule"]["ip_protocol"] == "tcp"
            group = {"parent_group_id": made["id"], "group_id": made["id"]}
            for body, status in (
                (rule, 400),
                ({**rule, "ip_protocol": "TCP", "from_port": "22"}, 400),
                ({**rule, "ip_protocol": "sctp"}, 400),
                ({**rule, "from_port": 0}, 400),
                ({**rule, "from_port": 23}, 400),
                ({**rule, "cidr": "10.0.0.0"}, 400),
                ({**rule, "cidr": "10.0.0.0/0"}, 400),
                ({"parent_group_id": made["id"], "cidr": "10.0.0.0/8"}, 400),
                ({**group, "group_id": "0" * 8 + "-0000-0000-0000-" + "0" * 12}, 404),
                ({**rule, "ip_protocol": "ICMP", "from_port": -1, "to_port": -1}, 200),
                ({**rule, "ip_protocol": "Udp", "from_port": 1, "to_port": 65535, "cidr": "10.0.0.0%2F8"}, 200),
                ({**group, "ip_protocol": "icmp"}, 200),
                (group, 200),
                (group, 400),
            ):
                answer = await w.demo.request("POST", f"{C}/os-security-group-rules", {"security_group_rule": body})
                assert answer.status == status, (body, answer.body)
            rules = (await w.demo.get(f"{at}/{made['id']}"))["security_group"]["rules"]
            shown = [tuple(str(item[name]) for name in ("ip_protocol", "from_port", "to_port")) for item in rules]
            assert sorted(shown) == [
                ("None", "None", "None"), ("icmp", "-1", "-1"), ("icmp", "-1", "-1"), ("tcp", "22", "22"),
                ("udp", "1", "65535"),
            ]  # fmt: skip
            for words, status in (
                ({"name": " web ", "description": ""}, 200),
                ({"name": "", "description": "two\nlines"}, 200),
                ({"name": "x"}, 400),
                ({"name": "x", "description": None}, 400),
                ({"name": "Default", "description": ""}, 403),
            ):
                answer = await w.demo.request("POST", at, {"security_group": words})
                assert answer.status == status, (words, answer.body)
                if status == 200:
                    assert answer.json["security_group"]["name"] == words["name"]
                    assert (await w.demo.request("DELETE", f"{at}/{answer.json['security_group']['id']}")).status == 202
            assert {group["name"] for group in (await w.demo.get(at))["security_groups"]} == {"default", "web"}
            assert (await w.demo.request("DELETE", f"{at}/{made['id']}")).status == 202
            assert (await w.demo.request("GET", f"{at}/{made['id']}")).status == 404
            assert (await w.demo.request("GET", at, version="2.36")).status == 404

    run(test())


def test_server_groups_keep_servers_apart(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            body = {"server_group": {"name": "apart", "policy": "anti-affinity"}}
            group = (await w.demo.post(f"{C}/os-server-groups", body, "2.64"))["server_group"]
            server = {"name": "vm", "flavorRef": "42", "imageRef": await w.demo.image()}
            for _ in range(2):
                asked = {"server": server, "os:scheduler_hints": {"group": group["id"]}}
                made = (await w.demo.post(SERVERS, asked))["server"]
            fault = (await w.demo.until_status(made["id"], "ERROR"))["fault"]["message"]
            assert "h1: a member of the server group is there" in fault
            shown = (await w.demo.get(f"{C}/os-server-groups/{group['id']}", "2.64"))["server_group"]
            assert len(shown["members"]) == 2

    run(test())


def test_servers_of_one_request_in_an_affinity_group_are_on_one_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for host in ("h1", "h2"):
                await w.agent(host)
            body = {"server_group": {"name": "beside", "policy": "affinity"}}
            group = (await w.demo.post(f"{C}/os-server-groups", body, "2.64"))["server_group"]
            server = {"name": "vm", "flavorRef": "42", "imageRef": await w.demo.image(), "networks": "none"}
            asked = {"server": {**server, "min_count": 2}, "os:scheduler_hints": {"group": group["id"]}}
            await w.demo.post(SERVERS, asked, "2.37")
            shown = (await w.admin.get(f"{SERVERS}/detail?all_tenants=1"))["servers"]
            assert len(shown) == 2 and len({each["OS-EXT-SRV-ATTR:host"] for each in shown}) == 1

    run(test())


def test_hints_place_servers_beside_or_apart_from_others(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for host in ("h1", "h2"):
                await w.agent(host)
            server = {"name": "vm", "flavorRef": "42", "imageRef": await w.demo.image(), "networks": "none"}

            async def host_of(**hints: Any) -> str:
                body = {"server": server, "os:scheduler_hints": hints}
                made = (await w.demo.post(SERVERS, body, "2.37"))["server"]["id"]
                shown = (await w.admin.get(f"{SERVERS}/{made}"))["server"]
                places[made] = shown["OS-EXT-SRV-ATTR:host"]
                return made

            places: dict[str, str | None] = {}
            first = await host_of()
            apart = await host_of(different_host=first)
            beside = await host_of(same_host=[first])
            assert places[first] == places[beside] != places[apart]
            nowhere = await host_of(different_host=[first, apart])
            assert places[nowhere] is None
            unknown = await host_of(same_host="0" * 32)
            assert places[unknown] is None, "a server that is not there is on no host"
            for hints in ({"same_host": []}, {"different_host": 5}, {"different_host": ["x"]}, {"query": "[]"}):
                body = {"server": server, "os:scheduler_hints": hints}
                answer = await w.demo.request("POST", SERVERS, body, version="2.37")
                assert answer.status == 400, hints

    run(test())


def test_networks_by_the_old_proxies(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            network = await w.demo.network()
            (mine,) = [item for item in (await w.demo.get(f"{C}/os-networks"))["networks"] if item["id"] == network]
            assert mine["label"] == "net1" and mine["gateway_v6"] is None and "vlan" not in mine
            shown = (await w.admin.get(f"{C}/os-networks"))["networks"]
            assert all("vlan" in item for item in shown) and network in {item["id"] for item in shown}
            tenant = (await w.demo.get(f"{C}/os-tenant-networks", "2.35"))["networks"]
            assert {"id": network, "label": "net1", "cidr": "None"} in tenant
            assert (await w.demo.get(f"{C}/os-networks/{network}"))["network"] == mine
            own = (await w.demo.get(f"{C}/os-tenant-networks/{network}", "2.35"))["network"]
            assert own == {"id": network, "label": "net1", "cidr": "None"}
            others = await w.admin.network("hidden", "10.99.0.0/24")
            for path in ("os-networks", "os-tenant-networks"):
                for place in (others, "x", network.upper()):
                    answer = await w.demo.request("GET", f"{C}/{path}/{place}")
                    assert (answer.status, answer.message) == (404, "Network not found")
                for place in (path, f"{path}/{network}"):
                    assert (await w.demo.request("GET", f"{C}/{place}", version="2.36")).status == 404

    run(test())


def test_what_is_said_to_be_empty_or_not_there_is_so(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            assert (await w.admin.get(f"{C}/os-migrations"))["migrations"] == []
            assert (await w.admin.request("GET", f"{C}/os-cells")).status == 404
            classes = (await w.admin.get(f"{C}/os-quota-class-sets/default"))["quota_class_set"]
            defaults = (await w.demo.get(f"{C}/os-quota-sets/{w.demo.project_id}/defaults"))["quota_set"]
            assert classes.items() - {("id", "default")} <= defaults.items()

    run(test())
