"""Key pairs of both types, rxtx_factor, and the list of extensions."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from deuteron.api.compute import extensions
from deuteron.api.compute.service import ComputeService
from tests.unit.api_compute.harness import run, world
from tests.unit.api_hosts.test_metadata import ask

C = "/compute/v2.1"


def test_certificates_are_made_until_2_91_and_imported_since(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            path = f"{C}/os-keypairs"
            body: dict[str, Any] = {"keypair": {"name": "cert", "type": "x509"}}
            for minor in ("2.92", "2.96"):
                assert (await w.demo.request("POST", path, body, version=minor)).status == 400, "a key is to be given"
            made = (await w.demo.post(path, body, "2.91", 201))["keypair"]
            certificate = x509.load_pem_x509_certificate(made["public_key"].encode())
            assert certificate.subject.rfc4514_string() == f"CN={w.demo.user_id}"
            key, inside, _ = pkcs12.load_key_and_certificates(base64.b64decode(made["private_key"]), None)
            assert inside == certificate and key is not None
            assert key.public_key() == certificate.public_key()
            assert len(made["fingerprint"]) == 59 and made["type"] == "x509"

            given = {"keypair": {"name": "a.b@c", "type": "x509", "public_key": made["public_key"]}}
            taken = (await w.demo.post(path, given, "2.92", 201))["keypair"]
            assert taken["fingerprint"] == made["fingerprint"] and "private_key" not in taken
            assert (await w.demo.get(f"{path}/a.b@c", "2.2"))["keypair"]["type"] == "x509"
            assert (await w.demo.request("POST", path, given, version="2.91")).status == 400, (
                "the name is for later ones"
            )
            bad = {"keypair": {"name": "bad", "type": "x509", "public_key": "no certificate"}}
            assert "X509 fingerprint" in (await w.demo.request("POST", path, bad, version="2.2")).message
            assert (await w.demo.request("POST", path, body, version="2.1")).status == 400, "types came with 2.2"

            network = await w.demo.network()
            server = await w.demo.boot(imageRef=await w.demo.image(), key_name="cert", networks=[{"uuid": network}])
            await w.demo.until_status(server, "ACTIVE")
            said = await ask(w, "metadata/openstack/latest/meta_data.json", x_forwarded_for="10.10.10.2",
                             x_neutron_network_id=network)  # fmt: skip
            assert said.json["keys"] == [{"name": "cert", "type": "x509", "data": made["public_key"]}]
            assert agent.servers()

    run(test())


def test_the_rxtx_factor_is_kept_and_shown(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            body: dict[str, Any] = {"name": "f", "ram": 64, "vcpus": 1, "disk": 0}
            for place, (given, shown) in enumerate(((2.5, 2.5), ("0.5", 0.5), (3, 3.0), (None, 1.0))):
                wanted = {**body, "name": f"f{place}", **({} if given is None else {"rxtx_factor": given})}
                made = (await w.admin.post(f"{C}/flavors", {"flavor": wanted}))["flavor"]
                assert made["rxtx_factor"] == shown
                assert (await w.demo.get(f"{C}/flavors/{made['id']}"))["flavor"]["rxtx_factor"] == shown
            for wrong in (0, -1, "fast", True, "1e3", "9" * 38 + "9", None):
                refused = await w.admin.request("POST", f"{C}/flavors", {"flavor": {**body, "rxtx_factor": wrong}})
                assert refused.status == 400, wrong

    run(test())


def test_the_extensions_are_those_that_work(tmp_path: Path) -> None:
    paths = {route.path for route in ComputeService().routes()}
    for alias in extensions.EXTENSIONS:
        resource = alias if alias != "os-attach-interfaces" else "os-interface"
        own = [path for path in paths if f"/{resource}" in path]
        # An extension is a resource with routes, or a part of another one.
        assert own or alias in _PARTS, alias

    async def test() -> None:
        async with world(tmp_path) as w:
            listed = (await w.demo.get(f"{C}/extensions"))["extensions"]
            assert [item["alias"] for item in listed] == list(extensions.EXTENSIONS)
            for name in ("os-assisted-volume-snapshots", "os-migrate-server", "os-floating-ips",
                         "os-used-quotas", "os-server-tags"):  # fmt: skip
                assert (await w.demo.request("GET", f"{C}/extensions/{name}")).status == 404, name
            one = (await w.demo.get(f"{C}/extensions/os-quota-sets"))["extension"]
            assert (one["alias"], one["name"]) == ("os-quota-sets", "Quotas")

    run(test())


_PARTS = {
    "os-create-backup", "os-evacuate", "os-rescue", "os-shelve",
    "OS-DCF", "OS-EXT-AZ", "OS-EXT-IMG-SIZE", "OS-EXT-IPS", "OS-EXT-IPS-MAC", "OS-EXT-SRV-ATTR", "OS-EXT-STS",
    "OS-FLV-DISABLED", "OS-FLV-EXT-DATA", "OS-SCH-HNT", "OS-SRV-USG", "os-access-ips", "os-admin-actions",
    "os-admin-password",
    "os-config-drive", "os-console-output", "os-consoles", "os-create-server-ext", "os-deferred-delete",
    "os-extended-hypervisors",
    "os-extended-quotas", "os-extended-services", "os-extended-status", "os-flavor-extra-specs", "os-flavor-manage",
    "os-flavor-rxtx", "os-flavor-swap", "os-hypervisor-status", "os-lock-server", "os-multiple-create",
    "os-pause-server", "os-personality", "os-remote-consoles", "os-server-diagnostics", "os-server-group-quotas",
    "os-server-list-multi-status",
    "os-server-sort-keys", "os-server-start-stop", "os-suspend-server", "os-used-limits", "os-used-limits-for-admin",
    "os-extended-volumes", "os-user-data", "os-volumes",
}  # fmt: skip
