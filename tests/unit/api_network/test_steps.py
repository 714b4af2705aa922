"""After-commit steps of a third party's mechanism: both outcomes, for every kind of object, and what a crash leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from deuteron.hub.steps import Steps
from deuteron.net.mechanisms import registry as found
from deuteron.rules.network import ports
from deuteron.store.database import Tx
from deuteron.store.network_tables import steps as table
from tests.unit.api_network import pigeon
from tests.unit.api_network.harness import HOST, Answer, Client, cloud_in
from tests.waiting import until

AFTER_COMMIT = """
    def after_commit(self, step):
        import json, threading
        from deuteron.model.errors import Conflict
        from deuteron.net.mechanisms import StepFailed

        with open({log!r}, "a") as log:
            words = [step.action, step.kind, step.values.get("name"), threading.current_thread().name, step.id]
            log.write(json.dumps(words) + "\\n")
        name = step.values.get("name")
        if step.action == "delete":
            if name == "clings":
                raise StepFailed("it clings")
        elif name == "refused":
            raise StepFailed("the coop is full")
        elif name == "conflict":
            raise Conflict("Two pigeons want it.", type="PigeonConflict")
        elif name == "broken":
            raise ZeroDivisionError("a secret of the third party")
        elif name == "slow":
            threading.Event().wait(2.0)
"""


class Teller:
    """A cloud whose mechanism is told, and what it was told."""

    def __init__(self, client: Client, log: Path) -> None:
        self.client = client
        self._log = log

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Action, kind and name of each step so far."""
        return [(action, kind, name) for action, kind, name, *_ in self.lines]

    @property
    def lines(self) -> list[list[str]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []

    def left(self) -> int:
        with self.client.cloud.database.read() as tx:
            return int(tx.scalar(select(func.count()).select_from(table)))

    def restart(self) -> None:
        """As a new process would begin: what was left is carried out."""
        steps = Steps(self.client.cloud.settings, self.client.cloud.database, bound_s=0.5)

        async def run() -> None:
            if self.client.cloud.steps is not None:
                await self.client.cloud.steps.stop()
            steps.start()

        self.client.loop.run_until_complete(run())
        self.client.cloud.steps = steps

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        def look() -> tuple[bool, object, int]:
            return bool(holds()), self.told, self.left()

        self.client.loop.run_until_complete(until(what, look, lambda seen: seen[0]))


@pytest.fixture
def teller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Teller]:
    found.reread()
    log = tmp_path / "told"
    pigeon.install(tmp_path / "site", monkeypatch, AFTER_COMMIT.format(log=str(log)))
    with cloud_in(tmp_path, mechanism_drivers=("pigeon", "openvswitch")) as client:
        with client.cloud.database.read() as tx:
            assert tx.scalar(select(func.count()).select_from(table)) >= 1  # the public network, made at the start
        made = Teller(client, log)
        made.restart()
        made.until("what the start left is told", lambda: made.left() == 0)
        log.write_text("")
        yield made
        assert client.cloud.steps is not None
        client.loop.run_until_complete(client.cloud.steps.stop())
    found.reread()


def test_the_mechanism_hears_of_what_was_made_and_deleted_in_order_and_in_its_own_thread(teller: Teller) -> None:
    client = teller.client
    network = client.network("admin")
    subnet = client.subnet(network["id"], "10.0.0.0/24", "admin", name="sub")
    port = client.port(network["id"], "admin", name="door")
    client.delete(f"/v2.0/ports/{port['id']}")
    client.delete(f"/v2.0/networks/{network['id']}")
    assert teller.told == [
        ("create", "network", "net"),
        ("create", "subnet", "sub"),
        ("create", "port", ""),  # DHCP's
        ("create", "port", "door"),
        ("delete", "port", "door"),
        ("delete", "port", ""),
        ("delete", "subnet", "sub"),
        ("delete", "network", "net"),
    ]
    assert {thread for _, _, _, thread, _ in teller.lines} == {"steps-pigeon"}
    assert teller.lines[1][4] == subnet["id"]
    assert teller.left() == 0


REFUSED = {
    "refused": (500, "MechanismDriverError", "create_{}_postcommit failed: the coop is full"),
    "broken": (500, "MechanismDriverError", "create_{}_postcommit failed."),
    "slow": (500, "MechanismDriverError", "create_{}_postcommit failed: it was not done after 0.5 s"),
    "conflict": (409, "PigeonConflict", "Two pigeons want it."),
}


@pytest.mark.parametrize("kind", ["network", "subnet", "port"])
@pytest.mark.parametrize("name", REFUSED)
def test_when_a_step_fails_the_object_is_deleted_again_and_the_client_gets_the_error(
    teller: Teller, kind: str, name: str
) -> None:
    client = teller.client
    network = client.network("admin")
    bodies: dict[str, Any] = {
        "network": {},
        "subnet": {"network_id": network["id"], "cidr": "10.0.0.0/24", "ip_version": 4},
        "port": {"network_id": network["id"]},
    }
    before = client.get(f"/v2.0/{kind}s")[f"{kind}s"]
    answer = client.call("POST", f"/v2.0/{kind}s", {kind: {"name": name, **bodies[kind]}})
    status, type_, words = REFUSED[name]
    assert (answer.status, answer.error["type"], answer.error["message"]) == (status, type_, words.format(kind))
    assert b"secret of the third party" not in answer.raw
    assert client.get(f"/v2.0/{kind}s")[f"{kind}s"] == before
    # DHCP's port of the subnet went with it, and whoever was told of it is told that.
    assert client.get(f"/v2.0/ports?network_id={network['id']}")["ports"] == []
    teller.until("it is told of the deletion", lambda: ("delete", kind, name) in teller.told)
    teller.until("nothing is left", lambda: teller.left() == 0)


def test_of_several_in_one_request_none_stays_when_one_fails(teller: Teller) -> None:
    client = teller.client
    before = client.get("/v2.0/networks")["networks"]
    wanted = {"networks": [{"name": "first"}, {"name": "refused"}, {"name": "third"}]}
    answer = client.call("POST", "/v2.0/networks", wanted)
    assert (answer.status, answer.error["message"]) == (500, "create_network_postcommit failed: the coop is full")
    assert client.get("/v2.0/networks")["networks"] == before
    assert teller.told == [
        ("create", "network", "first"),
        ("create", "network", "refused"),
        *(("delete", "network", name) for name in ("third", "refused", "first")),
    ]
    assert teller.left() == 0


def test_a_floating_ip_and_a_gateway_go_with_their_ports(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    client = teller.client
    public = client.network("admin", name="outer", **{"router:external": True})
    client.subnet(public["id"], "192.0.2.0/24", "admin", enable_dhcp=False)
    router = client.post("/v2.0/routers", {"router": {}})["router"]
    (mechanism,) = (each for each in found.mechanisms_by_name(("pigeon",)))

    def refuse(self: object, step: Any) -> None:
        if step.action == "create":
            raise ValueError("no")

    monkeypatch.setattr(type(mechanism), "after_commit", refuse)
    teller.restart()
    wanted = {"router": {"external_gateway_info": {"network_id": public["id"]}}}
    assert client.call("PUT", f"/v2.0/routers/{router['id']}", wanted).status == 500
    assert client.get(f"/v2.0/routers/{router['id']}")["router"]["external_gateway_info"] is None
    floating = {"floatingip": {"floating_network_id": public["id"]}}
    assert client.call("POST", "/v2.0/floatingips", floating).status == 500
    assert client.get("/v2.0/floatingips")["floatingips"] == []
    assert client.get("/v2.0/ports")["ports"] == []
    assert teller.left() == 0


def test_what_was_deleted_stays_deleted_and_a_step_that_failed_is_tried_at_the_next_start(teller: Teller) -> None:
    client = teller.client
    network = client.network("admin", name="clings")
    client.delete(f"/v2.0/networks/{network['id']}")
    assert client.call("GET", f"/v2.0/networks/{network['id']}").status == 404
    assert teller.left() == 1
    before = teller.told.count(("delete", "network", "clings"))
    teller.restart()
    teller.until("it is tried again", lambda: teller.told.count(("delete", "network", "clings")) > before)


@pytest.mark.parametrize("name", ["fine", "refused"])
def test_what_a_crash_left_between_commit_and_step_is_carried_out_or_taken_back_at_the_next_start(
    teller: Teller, name: str
) -> None:
    client = teller.client
    assert client.cloud.steps is not None
    client.loop.run_until_complete(client.cloud.steps.stop())
    client.cloud.steps = None  # the process ends after the commit
    answer: Answer = client.call("POST", "/v2.0/networks", {"network": {"name": name}})
    assert answer.status == 201 and teller.left() == 1 and teller.told == []
    teller.restart()
    teller.until("nothing is left", lambda: teller.left() == 0)
    teller.until("it is told", lambda: ("create", "network", name) in teller.told)
    kept = client.call("GET", f"/v2.0/networks/{answer.body['network']['id']}").status
    assert kept == (200 if name == "fine" else 404)


def test_what_nobody_waits_for_is_told_as_well(teller: Teller) -> None:
    """A host's report of a deleted server ends its ports: no request is under way."""
    client = teller.client
    port = client.port(client.network("admin")["id"], "admin", name="door")

    def report(tx: Tx) -> None:
        ports.delete_port(tx, client.cloud.settings, port["id"])

    client.cloud.database.write(report)
    teller.until("it is told", lambda: ("delete", "port", "door") in teller.told)
    teller.until("nothing is left", lambda: teller.left() == 0)


def test_a_cloud_whose_mechanisms_want_no_steps_notes_none(tmp_path: Path) -> None:
    with cloud_in(tmp_path) as client:
        client.port(client.network("admin")["id"], "admin", **{"binding:host_id": HOST})
        with client.cloud.database.read() as tx:
            assert tx.scalar(select(func.count()).select_from(table)) == 0
