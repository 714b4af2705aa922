"""The agent as a process, against an API that only speaks the protocol, on a real host."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deuteron.model.intent import Ask, Change, HostIntent
from tests.kernel import intents
from tests.kernel.conftest import OpenVSwitch, wait_until
from tests.kernel.fake_api import FakeApi


class AgentProcess:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "agent.log"
        self.settings = intents.settings(str(folder))
        roles = msgspec.structs.replace(self.settings, roles=("network",))
        (folder / "agent.json").write_bytes(msgspec.json.encode(roles))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.log, "ab") as log:
            command = [sys.executable, "-m", "deuteron.agent", "--settings", str(self.folder / "agent.json")]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Seconds until the process was gone."""
        if self.process is None:
            return 0.0
        begun = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(10)
        self.process = None
        return time.monotonic() - begun

    def passes(self) -> list[str]:
        return re.findall(r'event="pass done".*', self.log.read_text())


@pytest.fixture
def agent(switch: OpenVSwitch, wires: None, tmp_path: Path) -> Iterator[AgentProcess]:
    made = AgentProcess(tmp_path)
    yield made
    made.stop(signal.SIGKILL)
    for pid_file in tmp_path.glob("dhcp/*/pid"):  # left only by a test that failed
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
    print(made.log.read_text() if made.log.exists() else "")


def _undo(agent: AgentProcess, api: FakeApi) -> None:
    """An agent that is given an empty intent takes everything of the cloud away."""
    api.intent = HostIntent(revision=api.intent.revision + 1000)
    api.drop()
    api.wait(lambda: api.realised() >= api.intent.revision and not api.reports[-1].problems, "everything is undone")


def test_ports_become_active_and_the_agent_says_so(agent: AgentProcess) -> None:
    with FakeApi(agent.settings.api_socket, intents.routed_network(ports=1)) as api:
        agent.start()
        api.wait(lambda: api.realised() == 1, "the first revision is realised")
        assert api.headers == ["Bearer secret-token"]
        assert {report.status for report in api.ports.values()} == {"ACTIVE"}
        assert len(api.ports) == 4
        assert api.routers[intents.ROUTER].status == "ACTIVE"

        port = intents.instance_port(1)
        begun = time.monotonic()
        api.send(Change(2, objects=(port,)))
        api.wait(lambda: port.id in api.ports, "the second port is reported")
        print(f"port wired in {1000 * (time.monotonic() - begun):.0f} ms")
        assert api.ports[port.id].status == "ACTIVE"

        api.send(Change(3, gone=(("port", port.id),)))
        api.wait(lambda: any(("port", port.id) in report.removed for report in api.reports), "the port is gone")
        _undo(agent, api)
        assert "secret-token" not in agent.log.read_text()


def test_a_restarted_agent_writes_nothing(agent: AgentProcess) -> None:
    with FakeApi(agent.settings.api_socket, intents.routed_network(ports=100)) as api:
        agent.start()
        api.wait(lambda: api.realised() == 1, "100 ports are realised")
        dnsmasq = (agent.folder / "dhcp" / intents.NET / "pid").read_text()
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        for number in (signal.SIGTERM, signal.SIGKILL):
            assert agent.stop(number) < 2
            api.reports.clear()
            before = len(agent.passes())
            begun = time.monotonic()
            agent.start()
            api.wait(lambda: len(api.ports) == 103 and api.realised() == 1, "the new agent has reported")
            print(f"agent with 100 right ports reported after {time.monotonic() - begun:.2f} s")
            assert all("writes=none" in line for line in agent.passes()[before:])
            assert len(api.reports[0].ports) == 103
        assert (agent.folder / "dhcp" / intents.NET / "pid").read_text() == dnsmasq
        assert subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout == links
        _undo(agent, api)


def test_a_router_that_is_down_has_its_ports_and_no_address(agent: AgentProcess) -> None:
    intent = intents.routed_network(ports=1)
    router = intent.routers[intents.ROUTER]

    def addresses() -> str:
        return _output("ip", "-n", f"qrouter-{intents.ROUTER}", "-4", "-o", "address", "show", "scope", "global")

    with FakeApi(agent.settings.api_socket, intent) as api:
        agent.start()
        api.wait(lambda: {report.status for report in api.ports.values()} == {"ACTIVE"}, "everything is active")
        assert addresses()
        api.send(Change(2, objects=(msgspec.structs.replace(router, admin_state_up=False),)))
        api.wait(lambda: not addresses(), "it has no address")
        assert {item.status for item in api.ports.values()} == {"ACTIVE"}
        api.send(Change(3, objects=(router,)))
        api.wait(addresses, "it has its addresses again")
        _undo(agent, api)


def test_drift_is_shown_mended_and_logged(agent: AgentProcess) -> None:
    with FakeApi(agent.settings.api_socket, intents.routed_network(ports=2)) as api:
        agent.start()
        api.wait(lambda: api.realised() == 1, "two ports are realised")
        flows = _flows()
        tap = f"tap{intents.instance_port(0).id[:11]}"
        router = f"qrouter-{intents.ROUTER}"

        subprocess.run(["ovs-ofctl", "del-flows", "br-int", "table=60"], check=True)
        subprocess.run(["ovs-vsctl", "del-port", tap], check=True)
        subprocess.run(["ip", "-n", router, "route", "del", "default"], check=True)
        api.send(Ask(1, "diff"))
        api.wait(lambda: api.answers, "the question is answered")
        assert api.answers[0].error is None

        wait_until(lambda: _flows() == flows, "the flows are back", 6)
        wait_until(lambda: "default" in _output("ip", "-n", router, "route"), "the route is back", 6)
        wait_until(lambda: tap in _output("ovs-vsctl", "list-ports", "br-int"), "the port is back", 6)
        wait_until(lambda: "drift mended" in agent.log.read_text(), "the mending is logged")
        _undo(agent, api)


def test_open_vswitch_may_die_at_any_time(agent: AgentProcess, switch: OpenVSwitch) -> None:
    with FakeApi(agent.settings.api_socket, intents.routed_network(ports=2)) as api:
        agent.start()
        api.wait(lambda: api.realised() == 1, "two ports are realised")
        for name, restart in (("ovs-vswitchd", switch.start_switch), ("ovsdb-server", switch.start_database)):
            switch.kill(name)
            api.intent = intents.routed_network(ports=3, revision=api.intent.revision + 1)
            api.drop()
            time.sleep(0.3)
            restart()
            wait_until(lambda: _pings(), f"DHCP and router reach each other after {name} died", 15)
            api.wait(lambda: api.realised() == api.intent.revision, "the newest revision is realised")
            api.wait(lambda: {item.status for item in api.ports.values()} == {"ACTIVE"}, "all ports are active")
        # What failed for longer than the agent's patience may be called so, with what failed; on a slow machine it is.
        said = [item for report in api.reports for item in (*report.ports, *report.routers)]
        assert said
        assert [
            item for item in said if item.status == "ERROR" and "not done yet" in (item.reason or "not done yet")
        ] == []
        _undo(agent, api)


def test_agent_and_switch_killed_at_any_moment_lose_and_leak_nothing(agent: AgentProcess, switch: OpenVSwitch) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with FakeApi(agent.settings.api_socket, HostIntent(revision=1)) as api:
        for revision in range(2, 14):
            api.intent = intents.routed_network(dice.randrange(7), revision, router=dice.random() < 0.7)
            if dice.random() < 0.2:
                api.intent = HostIntent(revision=revision)
            agent.start()
            time.sleep(dice.uniform(0.2, 0.6))
            if dice.random() < 0.3:
                switch.kill("ovs-vswitchd")
                time.sleep(dice.uniform(0.0, 0.2))
                if dice.random() < 0.5:
                    agent.stop(signal.SIGKILL)
                    agent.start()
                switch.start_switch()
                time.sleep(dice.uniform(0.0, 0.5))
            agent.stop(signal.SIGKILL)
        api.intent = intents.routed_network(ports=3, revision=20)
        api.reports.clear()
        agent.start()
        api.wait(lambda: api.realised() == 20 and not api.reports[-1].problems, "the last intent is realised")
        # A switch that was started just before may still make its devices in the host; the agent moves them again.
        wait_until(lambda: _difference(api) == "", "what is there is what is wanted", 15)
        wait_until(_pings, "DHCP and router reach each other")
        assert _difference(api) == ""
        _undo(agent, api)
    left = _output("ip", "-o", "link") + _output("ip", "netns", "list") + _output("ovs-vsctl", "list-ports", "br-int")
    assert not re.search(r"tap|qr-|qg-|qdhcp|qrouter", left), left
    assert list(agent.folder.glob("dhcp/*")) == []


def _difference(api: FakeApi) -> str:
    """What the agent says to be different from what is wanted, after a look at everything; empty if nothing is."""
    number = len(api.answers) + 1
    api.send(Ask(number, "diff"))
    api.wait(lambda: len(api.answers) == number, "the question is answered")
    return api.answers[-1].text


def _pings() -> bool:
    command = ["ip", "netns", "exec", f"qrouter-{intents.ROUTER}", "ping", "-c1", "-W1", "10.10.0.2"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _flows() -> str:
    text = _output("ovs-ofctl", "-O", "OpenFlow14", "--no-stats", "dump-flows", "br-int")
    return "\n".join(sorted(text.splitlines()))


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
