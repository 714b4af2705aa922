"""The simulator's REST interface, as a client of the appliance finds it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.appliance.trouble import Trouble
from tests import appliances
from tests.appliances import PASSWORD, Simulator

POOL = "/api/storage/v1/pools/default"
PROJECT = f"{POOL}/projects/test"
SAN = "/api/san/v1/iscsi"
MASK_ALL = "com.sun.ms.vss.hg.maskAll"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Simulator]:
    with appliances.running(tmp_path, "--pool-size-gib", "8", "--name", "zfs-1") as simulator:
        assert simulator.ask("POST", f"{POOL}/projects", {"name": "test", "logbias": "throughput"})[0] == 201
        yield simulator


def made(appliance: Simulator, name: str, size: Any = "1g", **more: Any) -> dict[str, Any]:
    body = {"name": name, "volsize": size, "sparse": True, "initiatorgroup": MASK_ALL} | more
    status, shown, _ = appliance.ask("POST", f"{PROJECT}/luns", body)
    assert status == 201, shown
    lun: dict[str, Any] = shown["lun"]
    return lun


def test_a_session_is_opened_used_and_closed(appliance: Simulator) -> None:
    basic = base64.b64encode(f"root:{PASSWORD}".encode()).decode()
    status, body, headers = appliance.ask("POST", "/api/access/v1", None, Authorization=f"Basic {basic}")
    assert (status, body) == (201, None) and headers["X-Zfssa-Version"]
    session = headers["X-Auth-Session"]
    assert appliance.ask("GET", POOL, None, **{"X-Auth-Session": session})[0] == 200
    assert appliance.ask("DELETE", "/api/access/v1", None, **{"X-Auth-Session": session})[0] == 204
    status, body, _ = appliance.ask("GET", POOL, None, **{"X-Auth-Session": session})
    assert (status, body["fault"]["message"]) == (401, "ERR_UNAUTHORIZED")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Auth-User": "root", "X-Auth-Key": "wrong"},
        {"X-Auth-User": "somebody", "X-Auth-Key": PASSWORD},
        {"X-Auth-Session": "guessed"},
        {"Authorization": "Basic ?"},
        {"Accept": "application/json"},
    ],
)
def test_nobody_else_is_let_in(appliance: Simulator, headers: dict[str, str]) -> None:
    for method, path in (("GET", POOL), ("POST", "/api/access/v1"), ("DELETE", PROJECT)):
        assert appliance.ask(method, path, None, **headers)[0] == 401


def test_a_pool_is_its_owners_and_says_what_is_free(appliance: Simulator) -> None:
    version = appliance.ask("GET", "/api/system/v1/version")[1]["version"]
    pool = appliance.ask("GET", POOL)[1]["pool"]
    assert (version["nodename"], version["asn"]) == (pool["owner"], pool["asn"])
    assert pool["usage"]["total"] == pool["usage"]["available"] == 8 << 30
    made(appliance, "thick", "3g", sparse=False)
    assert appliance.ask("GET", POOL)[1]["pool"]["usage"]["available"] == 5 << 30
    project = appliance.ask("GET", PROJECT)[1]["project"]
    assert (project["space_available"], project["space_total"], project["logbias"]) == (5 << 30, 3 << 30, "throughput")


def test_a_lun_is_made_changed_and_deleted(appliance: Simulator) -> None:
    lun = made(appliance, "one", "2g", volblocksize="16k", compression="gzip")
    assert (lun["volsize"], lun["volblocksize"], lun["compression"]) == (2 << 30, 16384, "gzip")
    assert lun["logbias"] == "throughput", "that of its project"
    assert made(appliance, "two", 1 << 30)["assignednumber"] == lun["assignednumber"] + 1
    path = f"{PROJECT}/luns/one"
    status, shown, _ = appliance.ask("PUT", path, {"volsize": 5 << 30, "nodestroy": True})
    assert (status, shown["lun"]["volsize"]) == (202, 5 << 30)
    assert appliance.ask("DELETE", path)[0] == 403
    assert appliance.ask("PUT", path, {"nodestroy": False, "name": "other"})[0] == 202
    assert appliance.ask("GET", path)[0] == 404
    assert appliance.ask("DELETE", f"{PROJECT}/luns/other")[0] == 204
    assert [each["name"] for each in appliance.ask("GET", f"{PROJECT}/luns")[1]["luns"]] == ["two"]


def test_a_clone_keeps_its_snapshot_and_goes_with_it_unless_it_is_not_to_be_destroyed(appliance: Simulator) -> None:
    made(appliance, "one")
    snapshots = f"{PROJECT}/luns/one/snapshots"
    assert appliance.ask("POST", snapshots, {"name": "then"})[0] == 201
    for name, nodestroy in (("kept", True), ("passing", False)):
        body = {"project": "test", "share": name, "nodestroy": nodestroy}
        status, shown, _ = appliance.ask("PUT", f"{snapshots}/then/clone", body)
        assert status == 201
        origin = {"pool": "default", "project": "test", "share": "one", "snapshot": "then", "collection": "local"}
        assert shown["lun"]["origin"] == origin
    assert appliance.ask("GET", f"{snapshots}/then")[1]["snapshot"]["numclones"] == 2
    assert appliance.ask("DELETE", f"{snapshots}/then")[0] == 403
    assert appliance.ask("DELETE", f"{PROJECT}/luns/one")[0] == 403
    assert appliance.ask("PUT", f"{PROJECT}/luns/one", {"name": "first"})[0] == 202
    assert appliance.ask("GET", f"{PROJECT}/luns/kept")[1]["lun"]["origin"]["share"] == "first"
    assert appliance.ask("PUT", f"{PROJECT}/luns/kept", {"nodestroy": False})[0] == 202
    assert appliance.ask("DELETE", f"{PROJECT}/luns/first/snapshots/then")[0] == 204
    assert [each["name"] for each in appliance.ask("GET", f"{PROJECT}/luns")[1]["luns"]] == ["first"]


def test_what_is_custom_has_a_schema_first(appliance: Simulator) -> None:
    made(appliance, "one")
    assert appliance.ask("PUT", f"{PROJECT}/luns/one", {"custom:image_id": "x"})[0] == 404
    kind = {"property": "image_id", "description": "OpenStack image ID", "type": "String"}
    assert appliance.ask("GET", "/api/storage/v1/schema/image_id")[0] == 404
    assert appliance.ask("POST", "/api/storage/v1/schema", kind)[0] == 201
    assert appliance.ask("POST", "/api/storage/v1/schema", kind)[0] == 409
    assert appliance.ask("PUT", f"{PROJECT}/luns/one", {"custom:image_id": "x"})[1]["lun"]["custom:image_id"] == "x"


def test_groups_have_members_that_are_known(appliance: Simulator) -> None:
    assert appliance.ask("GET", f"{SAN}/targets/alias=tgt-grp")[0] == 404
    status, shown, _ = appliance.ask("POST", f"{SAN}/targets", {"alias": "tgt-grp", "interfaces": ["e1000g0"]})
    iqn = shown["target"]["iqn"]
    assert status == 201 and appliance.ask("GET", f"{SAN}/targets/alias=tgt-grp")[1]["target"]["iqn"] == iqn
    assert appliance.ask("POST", f"{SAN}/target-groups", {"name": "tgt-grp", "targets": [iqn]})[0] == 201
    assert appliance.ask("PUT", f"{SAN}/target-groups/tgt-grp", {"targets": [iqn]})[0] == 202
    assert appliance.ask("POST", f"{SAN}/initiator-groups", {"name": "g", "initiators": ["iqn.2014-08.x:y"]})[0] == 400
    initiator = {"initiator": "iqn.2014-08.x:y", "alias": "g-y", "chapuser": "u", "chapsecret": "twelve chars"}
    assert appliance.ask("POST", f"{SAN}/initiators", initiator)[0] == 201
    assert appliance.ask("POST", f"{SAN}/initiators", initiator)[0] == 409
    assert appliance.ask("POST", f"{SAN}/initiator-groups", {"name": "g", "initiators": ["iqn.2014-08.x:y"]})[0] == 201
    assert appliance.ask("GET", f"{SAN}/initiator-groups")[1]["groups"][0]["initiators"] == ["iqn.2014-08.x:y"]
    assert "twelve chars" not in str(appliance.ask("GET", f"{SAN}/initiators"))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/storage/v1/pools/other", None, 404),
        ("GET", f"{POOL}/projects/other", None, 404),
        ("GET", "/api/nothing", None, 404),
        ("DELETE", POOL, None, 405),
        ("POST", f"{POOL}/projects", {"name": "test"}, 409),
        ("POST", f"{POOL}/projects", {}, 400),
        ("POST", f"{POOL}/projects", {"name": "../x"}, 400),
        ("POST", f"{POOL}/projects", [], 400),
        ("POST", f"{POOL}/projects", b"{", 400),
        ("POST", f"{POOL}/projects", b"[" * 100000, 400),
        ("POST", f"{PROJECT}/luns", {"name": "one", "volsize": "1g"}, 409),
        ("POST", f"{PROJECT}/luns", {"name": "x", "volsize": "9g"}, 400),
        ("POST", f"{PROJECT}/luns", {"name": "x", "volsize": "much"}, 400),
        ("POST", f"{PROJECT}/luns", {"name": "x", "volsize": -1}, 400),
        ("POST", f"{PROJECT}/luns", {"name": "x", "volsize": 1e300}, 400),
        ("POST", f"{PROJECT}/luns", {"name": "x", "volsize": "1g", "colour": "red"}, 400),
        ("POST", f"{PROJECT}/luns", {"name": "x", "volsize": "1g", "sparse": "yes"}, 400),
        ("POST", f"{PROJECT}/luns", {"name": "x", "volsize": "1g", "volblocksize": "3k"}, 400),
        ("POST", f"{PROJECT}/luns", {"name": "x", "volsize": "1g", "initiatorgroup": "other"}, 404),
        ("PUT", f"{PROJECT}/luns/one", {"volsize": "512m"}, 400),
        ("PUT", f"{PROJECT}/luns/one/snapshots/none/clone", {"share": "x"}, 404),
        ("POST", f"{SAN}/targets", {"alias": "t", "interfaces": ["ixgbe9"]}, 400),
        ("POST", f"{SAN}/initiators", {"initiator": "me"}, 400),
    ],
)
def test_it_refuses_as_the_appliance_does(appliance: Simulator, method: str, path: str, body: Any, status: int) -> None:
    made(appliance, "one")
    before = appliance.ask("GET", f"{PROJECT}/luns")[1]
    found, shown, _ = appliance.ask(method, path, body)
    assert (found, shown["fault"]["code"]) == (status, status) and shown["fault"]["message"].startswith("ERR_")
    assert appliance.ask("GET", f"{PROJECT}/luns")[1] == before


def test_what_was_answered_is_there_after_a_kill_and_half_made_files_are_not(appliance: Simulator) -> None:
    made(appliance, "one")
    for die in ("before", "after"):
        appliance.trouble(Trouble(match="POST .*/luns", die=die, times=1))  # type: ignore[arg-type]  # one of the words
        with pytest.raises(OSError):
            appliance.ask("POST", f"{PROJECT}/luns", {"name": die, "volsize": "1g", "sparse": True})
        appliance.wait()
        appliance.trouble()
        appliance.start()
    luns = appliance.ask("GET", f"{PROJECT}/luns")[1]["luns"]
    assert [each["name"] for each in luns] == ["one", "after"]
    data = list((appliance.folder / "state" / "pool-default").glob("*.data"))
    (data[0].parent / "0123456789abcdef.data").touch()
    appliance.kill()
    appliance.start()
    assert len(list(data[0].parent.glob("*.data"))) == 2
