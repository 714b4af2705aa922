"""Keys of encrypted volumes: hosts that have these are given them, and no user is, whatever it asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.client import MICROVERSION, Person
from tests.hostile.conftest import World
from tests.hostile.guests import until
from tests.hostile.test_privileges import host_token, over_socket

VOLUME = "/volume/v3"


@pytest.fixture
def sealed(world: World) -> Iterator[str]:
    """An encrypted volume of Alice."""
    kind = world.admin.create(f"{VOLUME}/types", "volume_type", name="sealed")["id"]
    said = {"provider": "luks", "control_location": "front-end", "key_size": 256}
    made = world.admin.create(f"{VOLUME}/types/{kind}/encryption", "encryption", **said)
    volume = world.alice.create(f"{VOLUME}/volumes", "volume", size=1, volume_type="sealed")["id"]
    until("it is made", lambda: world.alice.get(f"{VOLUME}/volumes/{volume}")["volume"]["status"] == "available")
    yield volume
    world.alice.call("DELETE", f"{VOLUME}/volumes/{volume}")
    gone = lambda: world.alice.call("GET", f"{VOLUME}/volumes/{volume}").status == 404  # noqa: E731
    until("it is gone", gone)
    world.admin.expect("DELETE", f"{VOLUME}/types/{kind}/encryption/{made['encryption_id']}")
    world.admin.expect("DELETE", f"{VOLUME}/types/{kind}")


def test_no_user_is_told_a_key_and_no_file_that_others_read_has_it(world: World, sealed: str) -> None:
    bearer = {"authorization": f"Bearer {host_token(world)}"}
    answer = over_socket(world, "GET", f"/internal/volumes/{sealed}/key", **bearer)
    assert answer.status == 200
    secret = answer.raw
    assert len(bytes.fromhex(secret.decode())) == 32

    one = f"{VOLUME}/volumes/{sealed}"
    for person in (world.mallory, world.rob):
        assert person.call("GET", f"{one}/encryption").status == 404
        body = {"volume": {"size": 1, "source_volid": sealed}}
        assert person.call("POST", f"{VOLUME}/volumes", body).status in (403, 404)
    people = (world.admin, world.alice, world.rita, world.mallory, world.rob, Person(world.port))
    for person in people:
        for path in (one, f"{one}/encryption", f"{VOLUME}/volumes/detail", f"{VOLUME}/volumes/detail?all_tenants=1"):
            assert secret not in person.call("GET", path).raw, (person.name, path)
        for path in (f"/internal/volumes/{sealed}/key", f"/volume/../internal/volumes/{sealed}/key"):
            assert person.call("GET", path, headers=bearer).status in (401, 404), (person.name, path)
        told = over_socket(
            world,
            "GET",
            f"/internal/volumes/{sealed}/key",
            authorization=f"Bearer {person.token}",
            x_auth_token=person.token,
            openstack_api_version=MICROVERSION,
        )
        assert told.status == 401 and secret not in told.raw
    key = {"connector": {"host": "aio"}}
    attach = {"attachment": {"volume_uuid": sealed, **key}}
    assert world.alice.call("POST", f"{VOLUME}/attachments", attach).status == 400
    intent = over_socket(world, "GET", "/internal/hosts/aio/intent", **bearer)
    assert intent.status == 200 and secret not in intent.raw

    assert (world.state / "api" / "volume-key").stat().st_mode & 0o777 == 0o600
    for file in _files(world.state):
        assert secret not in file.read_bytes(), file
    assert secret.decode() not in json.dumps(list(world.pids))


def _files(folder: Path) -> Iterator[Path]:
    """Those with something in them; disks of guests are large."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_blocks * 512 < 64 << 20:
            yield path
