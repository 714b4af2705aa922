"""Plays the recorded conversation with the real Neutron 29 to ours, and writes down what differs and why.

    python -m tests.oracle.replay > docs/neutron-differences.md     after something was mended, or got another reason

`neutron29.jsonl.xz` holds a line for each request, in order: the step's name, who asked, the request as it was written
and as it was sent, the whole answer. Recorded with ML2, Open vSwitch, one host, quotas off but for that of routes and
of RBAC policies.
"""

from __future__ import annotations

import json
import logging
import lzma
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import structlog

from deuteron.model.intent import Hello
from deuteron.model.settings import HostEntry
from deuteron.rules.hosts import registry
from tests.oracle.reasons import GENERATED, RECORDED
from tests.oracle.sameness import Answer, Difference, Twins, differences
from tests.unit.api_network.harness import ADMIN, DEMO, Client, cloud_in

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "neutron-differences.md"
RECORDING = Path(__file__).parent / "neutron29.jsonl.xz"
_HOST = "vm"
_ADMIN_THERE, _DEMO_THERE = "22780f8d39c44a19b85205147cf341da", "708a87c3126043309864dbfb0065f480"
_NO_QUOTA = ("network", "subnet", "subnetpool", "port", "router", "floatingip", "security_group", "security_group_rule")


class Unexplained(Exception):
    """A difference without a reason."""


@dataclass(frozen=True)
class Found:
    """A difference in the answer to one step."""

    step: str
    difference: Difference


def recorded() -> list[dict[str, Any]]:
    with lzma.open(RECORDING, "rt") as lines:
        return [json.loads(line) for line in lines]


def replay(folder: Path) -> tuple[int, list[Found]]:
    """How many requests were compared, and what differs."""
    bridges = {"physnet1": "br-ex"}
    settings = {
        "hosts": {_HOST: HostEntry(token="t", bridge_mappings=bridges, tunnel_ip="192.0.2.1")},
        "external": None,
        "flat_networks": ("physnet1",),
        "vlan_ranges": {"physnet1": ((100, 199),)},
    }
    with cloud_in(folder, **settings) as client:
        hello = Hello(
            _HOST,
            ("network", "compute"),
            2,
            1024,
            10,
            tunnel_ip="192.0.2.1",
            tunnel_types=("vxlan",),
            bridge_mappings=bridges,
            started_at="2026-11-20T14:51:21Z",
        )
        client.cloud.database.write(lambda tx: registry.greet(tx, hello))
        unlimited = {"quota": dict.fromkeys(_NO_QUOTA, -1)}
        client.put(f"/v2.0/quotas/{ADMIN}", unlimited)
        client.put(f"/v2.0/quotas/{DEMO}", unlimited)
        steps = recorded()
        return len(steps), list(_found(client, steps))


def _found(client: Client, steps: list[dict[str, Any]]) -> Iterator[Found]:
    twins = Twins()
    twins.pair(_ADMIN_THERE, ADMIN)
    twins.pair(_DEMO_THERE, DEMO)
    for step in steps:
        path, body = twins.here(step["path_sent"]), twins.here(step["body_sent"])
        twins.asking(path, body)
        sent = body.encode() if isinstance(body, str) else body
        answer = client.call(step["method"], path, sent, None if step["user"] == "none" else step["user"])
        theirs, ours = Answer(step["status"], step["response"]), Answer(answer.status, _as_recorded(answer.body))
        order = [value for name, value in parse_qsl(urlsplit(path).query) if name == "sort_key"]
        for difference in differences(theirs, ours, twins, order):
            yield Found(step["step"], difference)


_UNLOADED = (
    "qos_policy_id", "qos_network_policy_id", "resource_request", "device_profile", "numa_affinity_policy",
    "port_forwardings", "conntrack_helpers", "enable_ndp_proxy", "dns_name", "dns_domain", "dns_assignment",
    "dns_publish_fixed_ip",
)  # fmt: skip
"""Attributes of extensions that the recorded cloud had not loaded."""


def _as_recorded(body: Any) -> Any:
    if isinstance(body, dict):
        return {name: _as_recorded(value) for name, value in body.items() if name not in _UNLOADED}
    return [_as_recorded(value) for value in body] if isinstance(body, list) else body


def describe(count: int, found: Sequence[Found]) -> str:
    """The page of differences. Raises: Unexplained for one without a reason, and for a reason without one."""
    by_reason: dict[str, list[Found]] = {reason.why: [] for reason in RECORDED}
    for each in found:
        by_reason[_why(each)].append(each)
    idle = [why for why, those in by_reason.items() if not those]
    if idle:
        raise Unexplained(f"these reasons explain nothing any longer: {idle}")
    steps = len({each.step for each in found})
    lines = [
        "# What differs from Neutron",
        "",
        "Made by `python -m tests.oracle.replay`; a test fails when it is not what the run finds. The reasons are in",
        "`tests/oracle/reasons.py`.",
        "",
        f"{count} recorded requests to the real Neutron 29 (ML2, Open vSwitch), 101 of them meant to be wrong, are",
        "played to ours; statuses, keys and values of bodies and types of errors are compared. Ids, times, MAC",
        "addresses and addresses that a service chose by itself stand for each other; the words of messages and of",
        "descriptions of extensions are each service's own.",
        "",
        f"{count - steps} answers are the same, {steps} differ in something:",
    ]
    for why, those in by_reason.items():
        rows = sorted({(each.difference.place, *each.difference.told): None for each in those})
        lines += ["", f"**{why}**", "", "| place | Neutron 29 | here | steps |", "|---|---|---|---|"]
        for row in rows:
            where = list(
                dict.fromkeys(each.step for each in those if (each.difference.place, *each.difference.told) == row)
            )
            shown = ", ".join(where[:3]) + (f" and {len(where) - 3} more" if len(where) > 3 else "")
            lines.append("| " + " | ".join(f"`{word}`".replace("|", "/") for word in row) + f" | {shown} |")
    lines += ["", "## In generated requests", "", *_TOLD, "", *(f"- {why}." for why in _generated())]
    return "\n".join(lines) + "\n"


def _generated() -> list[str]:
    return list(dict.fromkeys(reason.why for reason in GENERATED))


_TOLD = (
    "`./deuteron test tests/oracle --oracle` sends generated sequences of requests, valid and not, to the real Neutron",
    "and to ours. What may differ there:",
)


def _why(found: Found) -> str:
    for reason in RECORDED:
        if reason.explains(found.step, found.difference.place):
            return reason.why
    raise Unexplained(f"nobody gave a reason for this difference: {found.step}, {found.difference}")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as made:
        sys.stdout.write(describe(*replay(Path(made))))
