"""The reconciler of a host, in a test's own process."""

from __future__ import annotations

import socket
import time

from deuteron.model.intent import HostIntent, HostSettings
from deuteron.net.host import Host, real_host
from deuteron.net.mechanisms.wiring import host_mechanisms_by_name
from deuteron.net.plan import plan
from deuteron.net.reconcile import Outcome
from deuteron.net.rows import HostPlan, MetadataListener
from tests.kernel import intents

ROUTER = f"qrouter-{intents.ROUTER}"
"""The namespace of the router of the intents."""

SWEPT = "goes through its cache"


class Runner:
    """A reconciler on the test's host; `again` is a restarted agent."""

    def __init__(self, settings: HostSettings) -> None:
        self.settings = settings
        self.mechanisms = host_mechanisms_by_name(settings.mechanism_drivers)
        self.listeners: dict[MetadataListener, socket.socket] = {}
        self.host = self._open()

    def _open(self) -> Host:
        return real_host(self.settings.state_dir, self.listeners.__setitem__, self._close, self.mechanisms)

    def _close(self, row: MetadataListener) -> None:
        self.listeners.pop(row).close()

    def again(self) -> None:
        self.host.close()
        for listener in self.listeners.values():
            listener.close()
        self.listeners.clear()
        self.host = self._open()

    def run(self, intent: HostIntent | None, full: bool = False) -> Outcome:
        subjects = [mechanism.plan for mechanism in self.mechanisms]
        wanted = plan(intent, self.settings, subjects) if intent is not None else HostPlan()
        outcome = self.host.reconciler.run(wanted, full=full)
        deadline = time.monotonic() + 10.0
        # The switch takes up to half a second to go through its cache, and the reconciler does not wait for it.
        while outcome.pending and all(SWEPT in reason for _, reason in outcome.pending):
            assert time.monotonic() < deadline, f"still pending: {outcome.pending}"
            time.sleep(0.05)
            outcome = self.host.reconciler.run(wanted, full=False)
        return outcome

    def settle(self, intent: HostIntent | None, timeout_s: float = 30.0) -> Outcome:
        """Full passes until everything is as wanted and nothing more is written."""
        deadline = time.monotonic() + timeout_s
        while True:
            outcome = self.run(intent, full=True)
            if outcome.is_complete and not outcome.writes:
                return outcome
            assert time.monotonic() < deadline, f"still pending: {outcome.pending}, writes: {outcome.writes}"
            time.sleep(0.05)
