"""What an operator may set: how many requests a project and an address make, and what is written down of slow ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from deuteron.api.limits import Buckets
from deuteron.api.meter import Counters, Meter, Spent, Use
from deuteron.api.settings import BadOperatorFile, read_operator
from deuteron.model.errors import TooMany
from deuteron.model.settings import LimitOptions, Operator, Rate
from tests.unit.api_network.harness import DEMO, Client, cloud_in


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with cloud_in(tmp_path) as made:
        yield made


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def taken(buckets: Buckets, key: str, times: int) -> int:
    """How many of so many requests are let through."""
    passed = 0
    for _ in range(times):
        try:
            buckets.take(key)
        except TooMany:
            continue
        passed += 1
    return passed


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    clock = Clock()
    buckets = Buckets("project", Rate(rate=2, burst=5), clock)
    assert taken(buckets, "a", 20) == 5
    assert taken(buckets, "b", 20) == 5, "another key has its own"
    clock.now_s += 1.5
    assert taken(buckets, "a", 20) == 3
    clock.now_s += 1000
    assert taken(buckets, "a", 20) == 5, "what was not used is not saved up beyond the burst"


def test_who_waits_as_long_as_it_is_told_is_served() -> None:
    clock = Clock()
    buckets = Buckets("address", Rate(rate=0.1, burst=1), clock)
    buckets.take("a")
    clock.now_s += 3
    with pytest.raises(TooMany) as refused:
        buckets.take("a")
    assert refused.value.retry_after_s == 7
    clock.now_s += refused.value.retry_after_s
    buckets.take("a")


def test_buckets_and_counters_of_many_keys_take_no_more_room() -> None:
    buckets = Buckets("address", Rate(rate=1, burst=1), Clock(), most_keys=10)
    counters = Counters(most=10)
    for number in range(1000):
        buckets.take(str(number))
        counters.add(str(number), Use(requests=1, writer_s=0.5))
    assert taken(buckets, "999", 1) == 0 and taken(buckets, "5", 1) == 1, "the one silent longest is forgotten"
    found = counters.all()
    assert len(found) == 11
    assert found["others"] == Use(requests=990, writer_s=495.0), "what it had is not"


def test_a_project_that_asks_too_much_is_told_when_to_come_back(tmp_path: Path) -> None:
    with cloud_in(tmp_path, operator=Operator(limits=LimitOptions(project=Rate(rate=0.01, burst=3)))) as client:
        answers = [client.call("GET", "/v2.0/networks", user="demo") for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        body = {"network": {"name": "n"}}
        refused = client.call("POST", "/v2.0/networks", body, user="demo")
        assert (refused.status, refused.error["type"]) == (429, "TooManyRequests")
        assert 1 <= int(refused.headers["retry-after"]) <= 100
        assert f"project {DEMO} made more than 3 requests at once" in refused.error["message"]
        assert client.call("GET", "/v2.0/networks", user="other").status == 200, "another project has its own"
        use = client.cloud.meter.projects.all()[DEMO]
        assert (use.requests, use.refused) == (6, 3)


def test_an_address_that_asks_too_much_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    with cloud_in(tmp_path, operator=Operator(limits=LimitOptions(address=Rate(rate=0.01, burst=2)))) as client:
        statuses = [client.call("GET", "/v2.0/nonsense", user=None).status for _ in range(4)]
        assert statuses[2:] == [429, 429] and 429 not in statuses[:2]
        assert client.cloud.meter.addresses.all()["127.0.0.1"].refused == 2


def test_without_limits_nothing_is_refused(client: Client) -> None:
    assert {client.call("GET", "/v2.0/networks").status for _ in range(300)} == {200}


def test_requests_are_counted_with_what_they_held(client: Client) -> None:
    client.network("demo")
    client.get("/v2.0/networks", "demo")
    client.get("/v2.0/networks", "other")
    use = client.cloud.meter.projects.all()[DEMO]
    assert use.requests == 2 and use.writer_s > 0 and use.loop_s > 0
    assert client.cloud.meter.addresses.all()["127.0.0.1"].requests == 3
    assert client.cloud.meter.longest["writer"].request == "POST /v2.0/networks"


def test_a_slow_request_is_a_line_of_the_log(tmp_path: Path) -> None:
    before = structlog.get_config()
    structlog.configure(cache_logger_on_first_use=False)
    try:
        with (
            cloud_in(tmp_path, operator=Operator(limits=LimitOptions(slow_request_ms=0.001))) as client,
            capture_logs() as lines,
        ):
            answer = client.call("GET", "/v2.0/networks", user="demo")
        (line,) = [line for line in lines if line["event"] == "slow request"]
        assert line["request_id"] == answer.headers["x-openstack-request-id"]
        assert (line["log_level"], line["project"], line["route"]) == ("warning", DEMO, "/v2.0/networks")
        assert line["ms"] > 0 and line["status"] == 200
    finally:
        structlog.configure(**before)


def test_the_limits_of_an_operator_are_read(tmp_path: Path) -> None:
    assert read_operator(tmp_path).limits == LimitOptions()
    (tmp_path / "operator.toml").write_text("[limits]\nproject = {rate = 50, burst = 200}\nslow_request_ms = 250\n")
    assert read_operator(tmp_path).limits == LimitOptions(project=Rate(50, 200), slow_request_ms=250)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("project = {rate = 0, burst = 2}", "$.limits.project.rate"),
        ("project = {rate = 5}", "burst"),
        ("project = 5", "$.limits.project"),
        ("projects = {}", "projects"),
        ("slow_request_ms = 'x'", "$.limits.slow_request_ms"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "operator.toml"
    path.write_text(f"[limits]\n{text}\n")
    with pytest.raises(BadOperatorFile) as refused:
        read_operator(tmp_path)
    assert str(path) in str(refused.value) and told in str(refused.value)


def test_time_that_a_request_waits_is_not_its_own() -> None:
    meter, spent = Meter(), Spent()
    with spent.step("writer"):
        json.dumps([0] * 100_000)
    meter.record(spent, request="POST /x", request_id="r", project="p", address="", refused=False)
    assert 0 < meter.longest["writer"].seconds == meter.projects.all()["p"].writer_s
    assert meter.addresses.all() == {}, "agents are not counted"
