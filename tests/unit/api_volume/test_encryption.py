"""Encrypted volumes: what a type says of them, who hears what of a key, and what is made of such a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from deuteron.model.errors import Unavailable
from deuteron.model.intent import IntentVolume
from deuteron.rules.volume import keys
from deuteron.store.volume_tables import keys as key_table
from tests import rows
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import snapshot, status, volume

LUKS: dict[str, Any] = {
    "provider": "luks",
    "control_location": "front-end",
    "cipher": "aes-xts-plain64",
    "key_size": 256,
}
NOBODY = "22222222-1111-4111-8111-111111111111"


async def encrypted_type(admin: Volumes, name: str = "sealed", specs: dict[str, str] | None = None, **said: Any) -> str:
    body = {"volume_type": {"name": name, "extra_specs": specs or {}}}
    kind = (await admin.post("/types", body))["volume_type"]["id"]
    await admin.post(f"/types/{kind}/encryption", {"encryption": {**LUKS, **said}})
    return str(kind)


async def key_told(w: World, token: str, volume_id: str) -> tuple[int, str]:
    """What a host is answered that asks for the key of a volume."""
    headers = {"authorization": f"Bearer {token}"}
    answer = await w.demo.request("GET", f"/internal/volumes/{volume_id}/key", None, headers=headers, unix=True)
    return answer.status, answer.body.decode()


def kept(w: World) -> dict[str, str]:
    with w.cloud.database.read() as tx:
        return {row.id: row.secret for row in tx.all(select(key_table))}


def test_a_type_says_how_its_volumes_are_encrypted_until_it_has_some(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            kind = (await admin.post("/types", {"volume_type": {"name": "t"}}))["volume_type"]["id"]
            path = f"/types/{kind}/encryption"
            assert await admin.get(path) == {}
            for wrong in (
                {}, {"provider": "luks"}, {"control_location": "front-end"}, {**LUKS, "control_location": "middle"},
                {**LUKS, "key_size": -1}, {**LUKS, "key_size": "x"}, {**LUKS, "key_size": True}, {**LUKS, "cipher": 5},
                {**LUKS, "provider": None}, {**LUKS, "provider": "x" * 256}, {**LUKS, "colour": "red"},
            ):  # fmt: skip
                assert (await admin.error("POST", path, {"encryption": wrong}))[0] == 400, wrong
            for method in ("PUT", "DELETE", "GET"):
                refusal = await admin.error(method, f"{path}/provider", {"encryption": {"key_size": 1}})
                assert refusal == (404, "itemNotFound", f"Volume type encryption for type {kind} does not exist.")
            made = (await admin.post(path, {"encryption": {**LUKS, "key_size": "256"}}))["encryption"]
            assert made == {**LUKS, "volume_type_id": kind, "encryption_id": made["encryption_id"]}
            refusal = await admin.error("POST", path, {"encryption": LUKS})
            assert refusal == (400, "badRequest", f"Volume type encryption for type {kind} already exists.")
            found = await admin.get(path)
            assert {name: found[name] for name in made} == made
            one = f"{path}/{found['encryption_id']}"
            assert await admin.get(f"{path}/cipher") == {"cipher": "aes-xts-plain64"}
            assert (await admin.error("GET", f"{path}/colour"))[0] == 404
            changed = {"key_size": 512, "cipher": None}
            assert await admin.put(one, {"encryption": changed}) == {"encryption": changed}
            found = await admin.get(path)
            assert (found["key_size"], found["cipher"], found["provider"]) == (512, None, "luks")
            assert await admin.put(one, {"encryption": {}}) == {"encryption": {}}
            for method in ("GET", "POST"):
                assert (await demo.error(method, path, {"encryption": LUKS}))[0] == 403
            for method in ("GET", "PUT", "DELETE"):
                assert (await demo.error(method, one, {"encryption": LUKS}))[0] == 403
            assert (await admin.error("POST", f"/types/{NOBODY}/encryption", {"encryption": LUKS}))[0] == 404

            made = await volume(demo, volume_type=kind)
            for method, to, verb in (("POST", path, "create"), ("PUT", one, "update"), ("DELETE", one, "delete")):
                refusal = await admin.error(method, to, {"encryption": LUKS})
                said = f"Cannot {verb} encryption specs. Volume type in use."
                assert refusal == (400, "badRequest", said), method
            await demo.delete(f"/volumes/{made['id']}")
            await demo.until_gone(f"/volumes/{made['id']}")
            assert await admin.delete(one) == 202 and await admin.get(path) == {}
            plain = await volume(demo, volume_type=kind)
            refusal = await admin.error("POST", path, {"encryption": LUKS})
            assert refusal[2] == "Cannot create encryption specs. Volume type in use."
            assert plain["encrypted"] is False
            told = await demo.get(f"/volumes/{plain['id']}/encryption")
            assert told == {"encryption_key_id": None}

    run(test())


def test_a_key_is_told_to_the_hosts_of_its_volume_and_to_nobody_else(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            kind = await encrypted_type(admin)
            one = await volume(demo, volume_type=kind)
            path = f"/volumes/{one['id']}"
            assert one["encrypted"] is True
            key_id = one["encryption_key_id"]
            assert "encryption_key_id" not in (await demo.get(path, "3.63"))["volume"]
            (listed,) = (await demo.get("/volumes/detail"))["volumes"]
            assert listed["encrypted"] is True and listed["encryption_key_id"] == key_id
            assert await demo.get(f"{path}/encryption") == {"encryption_key_id": key_id, **LUKS}
            strange = await volume(admin, volume_type=kind)
            assert (await demo.error("GET", f"/volumes/{strange['id']}/encryption"))[0] == 404
            await admin.delete(f"/volumes/{strange['id']}")
            await admin.until_gone(f"/volumes/{strange['id']}")
            assert [each.key_bits for each in agent.objects.values() if isinstance(each, IntentVolume)] == [256]

            found, secret = await key_told(w, "token-h1", one["id"])
            assert found == 200 and len(bytes.fromhex(secret)) == 32
            assert (await key_told(w, "token-h2", one["id"]))[0] == 404, "another host"
            assert (await key_told(w, "nobody", one["id"]))[0] == 401
            assert (await key_told(w, "token-h1", key_id))[0] == 404
            plain = await volume(demo)
            assert (await key_told(w, "token-h1", plain["id"]))[0] == 404
            token = w.demo.token
            headers = {"x-auth-token": token, "authorization": f"Bearer {token}"}
            for unix in (True, False):
                target = f"/internal/volumes/{one['id']}/key"
                answer = await w.demo.request("GET", target, None, headers=headers, unix=unix)
                assert answer.status in (401, 404) and secret.encode() not in answer.body

            # Nothing that lies anywhere has it in clear, and what is stored needs the cloud's file.
            assert secret not in repr(list(agent.objects.values()))
            assert secret not in str(kept(w)) and set(kept(w)) == {key_id}
            state = Path(w.cloud.settings.state_dir)
            assert (state / keys.FILE).stat().st_mode & 0o777 == 0o600
            for file in (each for each in state.rglob("*") if each.is_file()):
                assert secret.encode() not in file.read_bytes(), file
            another = await volume(demo, volume_type=kind)
            assert (await key_told(w, "token-h1", another["id"]))[1] != secret
            for each in (one, another):
                await demo.delete(f"/volumes/{each['id']}")
                await demo.until_gone(f"/volumes/{each['id']}")
            assert kept(w) == {}
            rows.check(w.cloud.database)

    run(test())


def test_what_is_made_of_an_encrypted_volume_has_its_secret_and_a_key_of_its_own(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            kind = await encrypted_type(admin)
            one = await volume(demo, volume_type=kind)
            secret = (await key_told(w, "token-h1", one["id"]))[1]
            shot = await snapshot(demo, one["id"])
            made = [await volume(demo, source_volid=one["id"]), await volume(demo, snapshot_id=shot["id"])]
            for wrong in ({"source_volid": one["id"]}, {"snapshot_id": shot["id"]}):
                body = {"volume": {**wrong, "volume_type": "__DEFAULT__"}}
                assert "not compatible" in (await demo.error("POST", "/volumes", body))[2]
            plain = await volume(demo)
            body = {"volume": {"source_volid": plain["id"], "volume_type": kind}}
            assert "not compatible" in (await demo.error("POST", "/volumes", body))[2]

            saved = (await demo.post("/backups", {"backup": {"volume_id": one["id"]}}))["backup"]
            backup = await demo.until(f"/backups/{saved['id']}", status("available"))
            assert "encryption_key_id" not in (await demo.get(f"/backups/{saved['id']}", "3.63"))["backup"]
            assert (await admin.error("GET", f"/backups/{saved['id']}/export_record"))[0] == 501
            for into, words in ((plain, "and volume"), (await volume(demo, volume_type=kind), "another key")):
                body = {"restore": {"volume_id": into["id"]}}
                refusal = await demo.error("POST", f"/backups/{saved['id']}/restore", body)
                assert refusal[0] == 400 and words in refusal[2]
            for back in (one["id"], made[0]["id"]):
                await demo.post(f"/backups/{saved['id']}/restore", {"restore": {"volume_id": back}})
                await demo.until(f"/volumes/{back}", status("available"))
            told = (await demo.post(f"/backups/{saved['id']}/restore", {"restore": {}}))["restore"]
            made.append(await demo.until(f"/volumes/{told['volume_id']}", status("available")))
            of_plain = (await demo.post("/backups", {"backup": {"volume_id": plain["id"]}}))["backup"]
            await demo.until(f"/backups/{of_plain['id']}", status("available"))
            body = {"volume": {"backup_id": of_plain["id"], "size": 1, "volume_type": kind}}
            assert "is not encrypted" in (await demo.error("POST", "/volumes", body))[2]

            ids = {each["encryption_key_id"] for each in (one, backup, *made)}
            assert len(ids) == 5 and {each["volume_type"] for each in made} == {"sealed"}
            for each in made:
                assert (await key_told(w, "token-h1", each["id"])) == (200, secret)
            rows.check(w.cloud.database)

    run(test())


def test_what_cannot_be_encrypted_and_what_cannot_be_done_with_it_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            for number, (said, word) in enumerate((
                ({"provider": "plain"}, "luks"), ({"provider": "luks2"}, "luks"),
                ({"provider": "os_brick.encryptors.nop.NoOpEncryptor"}, "luks"),
                ({"control_location": "back-end"}, "front-end"), ({"cipher": "des"}, "aes-xts-plain64"),
                ({"key_size": 128}, "256 or 512"),
            )):  # fmt: skip
                name = await encrypted_type(admin, f"t{number}", **said)
                refusal = await demo.error("POST", "/volumes", {"volume": {"size": 1, "volume_type": name}})
                assert refusal[0] == 400 and refusal[2].endswith(f"hosts of this cloud do {word}."), refusal
            shared = await encrypted_type(admin, "shared", {"multiattach": "<is> True"})
            refusal = await demo.error("POST", "/volumes", {"volume": {"size": 1, "volume_type": shared}})
            assert refusal[2] == "Invalid volume: Multiattach cannot be used with encrypted volumes."
            old = await encrypted_type(
                admin, "old", provider="nova.volume.encryptors.luks.LuksEncryptor", key_size=None
            )
            assert (await volume(demo, volume_type=old))["encrypted"] is True

            kind = await encrypted_type(admin)
            one, plain = await volume(demo, volume_type=kind), await volume(demo)
            act = f"/volumes/{one['id']}/action"
            upload = {"os-volume_upload_image": {"image_name": "x", "disk_format": "raw"}}
            assert (await demo.error("POST", act, upload))[0] == 501
            for source, to in ((one, "__DEFAULT__"), (plain, kind), (one, old)):
                body = {"os-retype": {"new_type": to, "migration_policy": "on-demand"}}
                assert (await admin.error("POST", f"/volumes/{source['id']}/action", body))[0] == 501
            same = await encrypted_type(admin, "same")
            await admin.post(act, {"os-retype": {"new_type": same, "migration_policy": "never"}})
            assert (await demo.get(f"/volumes/{one['id']}"))["volume"]["volume_type"] == "same"
            body = {"os-retype": {"new_type": shared, "migration_policy": "never"}}
            assert "Multiattach" in (await admin.error("POST", act, body))[2]
            refusal = await admin.error("POST", act, {"os-unmanage": {}})
            assert refusal[0] == 400 and refusal[2] == "Unmanaging encrypted volumes is not supported."
            await demo.post(act, {"os-reserve": None})
            body = {"os-initialize_connection": {"connector": {"host": "h1"}}}
            refusal = await demo.error("POST", act, body)
            assert refusal[0] == 400 and "is encrypted" in refusal[2]
            await demo.post(act, {"os-unreserve": None})

            body = {"transfer": {"volume_id": one["id"]}}
            for path, version in (("/os-volume-transfer", "3.71"), ("/volume-transfers", "3.69")):
                refusal = await demo.error("POST", path, body, version)
                assert refusal[2] == "Invalid volume: transferring encrypted volume is not supported"
            shot = await snapshot(demo, one["id"])
            lonely = {"transfer": {"volume_id": one["id"], "no_snapshots": True}}
            assert (await demo.error("POST", "/volume-transfers", lonely, "3.70"))[0] == 400
            made = (await demo.post("/volume-transfers", body, "3.70"))["transfer"]
            await admin.post(f"/volume-transfers/{made['id']}/accept", {"accept": {"auth_key": made["auth_key"]}})
            assert (await admin.get(f"/volumes/{one['id']}"))["volume"]["encrypted"] is True
            assert (await admin.get(f"/snapshots/{shot['id']}"))["snapshot"]["id"] == shot["id"]
            rows.check(w.cloud.database)

    run(test())


def test_a_cloud_that_lost_its_key_says_so_and_makes_no_other(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            kind = await encrypted_type(admin)
            one = await volume(demo, volume_type=kind)
            secret = await key_told(w, "token-h1", one["id"])
            file = Path(w.cloud.settings.state_dir) / keys.FILE
            own = file.read_bytes()
            file.unlink()
            w.cloud.database.write(lambda tx: keys.bootstrap(tx, w.cloud.settings))
            assert not file.exists()
            assert (await key_told(w, "token-h1", one["id"]))[0] == 503
            assert (await demo.error("POST", "/volumes", {"volume": {"size": 1, "volume_type": kind}}))[0] == 503
            await volume(demo)
            file.write_bytes(keys.Fernet.generate_key())
            with pytest.raises(Unavailable, match="another key"), w.cloud.database.read() as tx:
                keys.secret(tx, w.cloud.settings, one["encryption_key_id"])
            file.write_bytes(own)
            assert await key_told(w, "token-h1", one["id"]) == secret

    run(test())
