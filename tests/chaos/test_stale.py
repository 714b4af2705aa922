"""An agent that was away while a thousand rows changed: it is told the difference, and its host is as the API says.

The agent is stopped as a process that hangs is: it keeps what it knew, and its line to the API. First it goes on with
that, then it is killed and another one finds the host as the first left it. DEUTERON_CHAOS_CHANGES=10000 is ten times
as much, as at night; above some 5,000 the API takes the silent agent for dead meanwhile.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deuteron.sandbox.cloud import State, read_cloud
from tests.chaos.client import Client
from tests.chaos.processes import Victim, find
from tests.chaos.stream import PATHS
from tests.chaos.test_crash_anywhere import unlike
from tests.chaos.world import HOST, difference, everything, leaks, unlike_what_was_asked, unreachable, until
from tests.clouds import Cloud, running, wait_for

CHANGES = int(os.environ.get("DEUTERON_CHAOS_CHANGES", "1000"))
PORTS = 50
"""Of each network; all but a few are gone again before the agent is back."""
STAY = 4
IN_STEP_S = 120.0

pytestmark = [pytest.mark.long, pytest.mark.timeout(300 + CHANGES // 10)]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running("--no-guest") as made:
        yield made


def test_an_agent_that_was_away_for_a_thousand_changes_makes_its_host_as_it_should_be(cloud: Cloud) -> None:
    first_state = cloud.host_state()
    changes = Changes(_client(cloud))
    changes.grow(2)
    _until_in_step(cloud, changes)
    with _agent_stopped(cloud) as agent:
        made = changes.make(CHANGES)
        stale = difference_of_host(cloud)
        signal.pidfd_send_signal(agent.handle, signal.SIGCONT)
        took_s = _until_in_step(cloud, changes)
    assert stale, "nothing was missing on the host, so the agent was not away"
    print(f"\nin step {took_s:.1f} s after {made} changes that a hanging agent had missed", flush=True)

    with _agent_stopped(cloud) as agent:
        made = changes.make(CHANGES)
        made += changes.end()
        signal.pidfd_send_signal(agent.handle, signal.SIGKILL)
        wait_for("another agent", lambda: [each for each in _agents(cloud) if each != agent.pid])
        took_s = _until_in_step(cloud, changes)
    print(f"in step {took_s:.1f} s after {made} changes that an agent had missed, which was then killed", flush=True)
    until(lambda: unlike(first_state, cloud.host_state()), "the host is as it was before the first network", 30)


class Changes:
    """Makes, alters and removes; `wholes` is what is there now, oldest first."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.wholes: list[dict[str, Any]] = []
        self._public = client.list(f"{PATHS['network']}?name=public")[0]["id"]
        self._serial = 0

    def make(self, count: int) -> int:
        """At least so many rows made, altered or removed: of what is there, and of what comes and goes again."""
        done = 0
        while done < count:
            done += self.grow(1)
            done += self._alter(self.wholes[0])
            # Of two that come one stays, in place of the oldest, which the host has.
            done += self._remove(self.wholes.pop(0 if self._serial % 2 else -1))
        return done

    def grow(self, count: int) -> int:
        """Networks with a router, a security group, and ports on the host, of which a few stay."""
        return sum(self._one() for _ in range(count))

    def end(self) -> int:
        done = sum(map(self._remove, self.wholes))
        self.wholes.clear()
        return done

    def _one(self) -> int:
        self._serial += 1
        number = self._serial
        network = self._post("network", name=f"stale-{number}")
        subnet = self._post("subnet", network_id=network["id"], ip_version=4, cidr=f"10.{90 + number % 100}.7.0/24")
        router = self._post("router", name=f"stale-{number}", external_gateway_info={"network_id": self._public})
        self.client.call("PUT", f"{PATHS['router']}/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
        group = self._post("security_group", name=f"stale-{number}")
        common = {"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp"}
        rules = [{**common, "port_range_min": at, "port_range_max": at} for at in range(1, PORTS + 1)]
        self._post_all("security_group_rule", rules)
        wish = {
            "network_id": network["id"], "binding:host_id": HOST, "device_owner": "compute:stale", "device_id": "stale",
            "security_groups": [group["id"]],
        }  # fmt: skip
        ports = [port["id"] for port in self._post_all("port", [wish] * PORTS)]
        for port in ports[STAY:]:
            self.client.call("DELETE", f"{PATHS['port']}/{port}")
        self.wholes.append(
            {"network": network["id"], "subnet": subnet["id"], "router": router["id"], "security_group": group["id"],
             "ports": ports[:STAY]}
        )  # fmt: skip
        return 6 + 2 * PORTS + PORTS - STAY

    def _alter(self, whole: dict[str, Any]) -> int:
        self._serial += 1
        network, router = ({"name": f"stale-{self._serial}"} for _ in range(2))
        self.client.call("PUT", f"{PATHS['network']}/{whole['network']}", {"network": network})
        self.client.call("PUT", f"{PATHS['router']}/{whole['router']}", {"router": router})
        self._serial += 1
        servers = {"dns_nameservers": [f"192.0.2.{self._serial % 200 + 1}"]}
        self.client.call("PUT", f"{PATHS['subnet']}/{whole['subnet']}", {"subnet": servers})
        for port in whole["ports"]:
            pair = {"allowed_address_pairs": [{"ip_address": f"198.51.100.{self._serial % 200 + 1}"}]}
            self.client.call("PUT", f"{PATHS['port']}/{port}", {"port": pair})
        return 3 + len(whole["ports"])

    def _remove(self, whole: dict[str, Any]) -> int:
        for port in whole["ports"]:
            self.client.call("DELETE", f"{PATHS['port']}/{port}")
        path = f"{PATHS['router']}/{whole['router']}"
        self.client.call("PUT", f"{path}/remove_router_interface", {"subnet_id": whole["subnet"]})
        for kind in ("router", "security_group", "network"):
            self.client.call("DELETE", f"{PATHS[kind]}/{whole[kind]}")
        return 5 + len(whole["ports"])

    def _post(self, kind: str, **values: Any) -> dict[str, Any]:
        _, answer = self.client.call("POST", PATHS[kind], {kind: values})
        made: dict[str, Any] = answer[kind]
        return made

    def _post_all(self, kind: str, wishes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        _, answer = self.client.call("POST", PATHS[kind], {f"{kind}s": wishes})
        made: list[dict[str, Any]] = answer[f"{kind}s"]
        return made


def difference_of_host(cloud: Cloud) -> list[str]:
    """By the API's lists and a look at the host: nobody there answers for it."""
    client = _client(cloud)
    return leaks(cloud, everything(client))


def _until_in_step(cloud: Cloud, changes: Changes) -> float:
    """Seconds until rows, statuses, the agent's own look, the host's devices and its packets say the same."""
    begun = time.monotonic()

    def wrong() -> list[str]:
        lists = everything(changes.client)
        found = unlike_what_was_asked(lists) or difference(cloud)
        if not found:
            took.append(time.monotonic() - begun)
            found = leaks(cloud, lists) or unreachable(cloud, lists)
        return found

    took: list[float] = []
    until(wrong, "the host is as the API says", IN_STEP_S)
    return took[-1]


@contextmanager
def _agent_stopped(cloud: Cloud) -> Iterator[Victim]:
    """It goes on afterwards, unless somebody killed it."""
    wait_for("an agent", lambda: _agents(cloud))
    victim = find(State(cloud.state), "agent")[0]
    signal.pidfd_send_signal(victim.handle, signal.SIGSTOP)
    try:
        yield victim
    finally:
        try:
            signal.pidfd_send_signal(victim.handle, signal.SIGCONT)
        except ProcessLookupError:
            pass
        finally:
            os.close(victim.handle)


def _agents(cloud: Cloud) -> list[int]:
    found = find(State(cloud.state), "agent")
    for each in found:
        os.close(each.handle)
    return [each.pid for each in found]


def _client(cloud: Cloud) -> Client:
    record = read_cloud(State(cloud.state))
    assert record is not None
    client = Client(record, threading.Event())
    project = client.log_in()
    names = ("network", "subnet", "port", "router", "security_group", "security_group_rule")
    client.call("PUT", f"/network/v2.0/quotas/{project}", {"quota": dict.fromkeys(names, -1)})
    return client
