"""`deuteron top` on a cloud without packets: who asked, and what an operator's limits refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.test_help_and_errors import run
from tests.hostile.client import administrator, by_password, login


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("top") / "cloud"
    done = run("up", "--dataplane", "none", "--no-guest", state=folder)
    assert done.returncode == 0, done.stderr
    yield folder
    run("down", "--delete", state=folder)


def test_who_asks_is_counted_and_shown(state: Path) -> None:
    admin = administrator(state)
    for number in range(5):
        admin.create("/network/v2.0/networks", "network", name=str(number))
    usage = json.loads(run("top", "--json", state=state).stdout)
    (mine,) = [row for row in usage["projects"] if row["name"] == "admin"]
    assert mine["use"]["requests"] >= 5 and mine["use"]["writer_s"] > 0 and mine["use"]["refused"] == 0
    (here,) = usage["addresses"]
    assert here["key"] == "127.0.0.1" and here["use"]["requests"] > mine["use"]["requests"]
    assert set(usage["longest"]) == {"loop", "reader", "writer"}
    shown = run("top", state=state).stdout
    assert f"admin {admin.project}" in shown and "WRITER S" in shown
    answer = admin.call("GET", "/usage", headers={"x-auth-token": "none"})
    assert answer.status == 401
    demo = yaml.safe_load((state / "clouds.yaml").read_text())["clouds"]["demo"]["auth"]
    scope = {"project": {"name": "demo", "domain": {"id": "default"}}}
    _, member = login(admin.port, by_password(demo["username"], demo["password"]), scope)
    assert member.call("GET", "/usage").status == 403


def test_limits_of_an_operator_count_from_the_next_start(state: Path) -> None:
    run("down", state=state)
    (state / "api" / "operator.toml").write_text("[limits]\nproject = {rate = 0.01, burst = 30}\n")
    done = run("up", state=state)
    assert done.returncode == 0, done.stderr
    person = administrator(state, "demo")
    statuses = {}
    for path in ("/network/v2.0/networks", "/compute/v2.1/servers", "/image/v2/images", "/identity/v3/auth/catalog"):
        answers = [person.call("GET", path) for _ in range(31)]
        statuses[path] = answers[-1].status
        assert int(answers[-1].headers["retry-after"]) >= 1
    assert set(statuses.values()) == {429}


def test_a_file_of_limits_that_cannot_be_meant_is_told(state: Path) -> None:
    run("down", state=state)
    (state / "api" / "operator.toml").write_text("[limits]\nproject = {rate = 'fast', burst = 1}\n")
    done = run("up", state=state)
    assert done.returncode == 1
    assert "operator.toml" in done.stderr and "project.rate" in done.stderr, done.stderr
    (state / "api" / "operator.toml").unlink()
    run("down", state=state)


def test_a_cloud_that_is_down_cannot_be_asked(state: Path) -> None:
    run("down", state=state)
    done = run("top", state=state)
    assert done.returncode == 1
    assert done.stderr == "the cloud is not running, so nobody can be asked\nhint: deuteron up\n"
