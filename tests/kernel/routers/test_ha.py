"""keepalived of a router: it elects, and neither the reconciler nor a restarted agent comes between."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec

from deuteron.model.intent import HostIntent, RouterHa, RouterPort
from tests import needs
from tests.kernel import intents
from tests.kernel.conftest import wait_until
from tests.kernel.routers.world import do, routed
from tests.kernel.runner import ROUTER, Runner

pytestmark = needs.needs_program("keepalived")
PORT = intents.uid(95)


def spread(revision: int = 1, is_active: bool = False, **change: object) -> HostIntent:
    """The routed network, whose router runs on several hosts and hears the others on it, too."""
    intent = routed("10.10.1.1", revision, **change)
    interface, router = intent.ports[intents.uid(6)], intent.routers[intents.ROUTER]
    port = msgspec.structs.replace(
        interface, id=PORT, mac_address="fa:16:3e:00:00:5f", ofport=19, device_owner="network:router_ha_interface"
    )
    election = RouterPort(PORT, intents.NET, port.mac_address, ("169.254.192.9/18",), 1500)
    router = msgspec.structs.replace(router, ha=RouterHa(election, 7, 0.1, is_active))
    return msgspec.structs.replace(intent, ports={**intent.ports, PORT: port}, routers={router.id: router})


def addresses() -> str:
    return do(f"ip -n {ROUTER} -4 -o address")


def process(runner: Runner) -> int:
    """0 for a moment after its start, before it has written it down."""
    try:
        return int(Path(runner.settings.state_dir, "ha", intents.ROUTER, "pid").read_text() or "0")
    except FileNotFoundError:
        return 0


def test_the_only_host_becomes_active_with_addresses_and_routes_and_stays_so(runner: Runner) -> None:
    runner.run(spread())
    assert runner.host.active_routers() == frozenset()
    wait_until(lambda: "169.254.0.7/24" in addresses(), "nobody else is there", 5)
    assert runner.host.active_routers() == {intents.ROUTER}
    runner.settle(spread())
    seen = addresses()
    for address in ("10.10.0.1/16", "172.24.4.10/24", "172.24.4.20/32", "169.254.192.9/18"):
        assert address in seen, seen
    assert "default via 172.24.4.1" in do(f"ip -n {ROUTER} route")
    before = process(runner)
    runner.again()
    outcome = runner.run(spread(), full=True)
    assert (outcome.writes, outcome.pending) == ({}, ())
    # A change is a file and a signal: whoever is active stays it.
    runner.run(spread(2, is_active=True))
    assert (process(runner), runner.host.active_routers()) == (before, {intents.ROUTER})
    runner.settle(spread(2, is_active=True))


def test_one_that_was_killed_is_started_again(runner: Runner) -> None:
    runner.settle(spread())
    wait_until(lambda: runner.host.active_routers() == {intents.ROUTER}, "it is active", 15)
    before = process(runner)
    os.kill(before, signal.SIGKILL)

    def is_another() -> bool:
        runner.run(spread(), full=True)  # its child ends a moment after it, and is taken for it until then
        return process(runner) not in (0, before)

    wait_until(is_another, "it runs again", 15)
    wait_until(lambda: runner.host.active_routers() == {intents.ROUTER}, "it is active again", 15)


def test_one_that_runs_on_this_host_alone_again_has_its_addresses_at_once(runner: Runner) -> None:
    runner.settle(spread())
    wait_until(lambda: runner.host.active_routers() == {intents.ROUTER}, "it is active", 15)
    runner.settle(routed("10.10.1.1", 2))
    seen = addresses()
    assert "10.10.0.1/16" in seen and "169.254.0.7" not in seen
    assert "default via 172.24.4.1" in do(f"ip -n {ROUTER} route")
    assert not os.path.exists(f"{runner.settings.state_dir}/ha/{intents.ROUTER}")
    runner.settle(spread(3))
    wait_until(lambda: runner.host.active_routers() == {intents.ROUTER}, "and back", 5)
