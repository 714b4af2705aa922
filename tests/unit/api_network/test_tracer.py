"""The process that walks traces: found again after any end, ended when it takes too long or nobody asks."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack

import msgspec
import pytest

from deuteron.api.tracer import MOST_OF_A_PROJECT, MOST_WAITING, Tracer
from deuteron.model.errors import TooMany, Unavailable
from deuteron.model.intent import HostSettings, Snapshot
from deuteron.model.traces import TraceAnswer, TracedHost, TraceQuestion
from deuteron.trace.__main__ import Walker

HOST = TracedHost(HostSettings("h", "", "", ""), msgspec.Raw(msgspec.json.encode(Snapshot(1))))


def question(hosts: tuple[TracedHost, ...] | None, destination: str = "nobody") -> TraceQuestion:
    return TraceQuestion(
        hosts, {}, None, (), frozenset(), {}, frozenset(), "outside", destination, "icmp", 84, None, None
    )


def asking(heard: list[Hashable], key: Hashable = "k") -> Callable[[Hashable], tuple[TraceQuestion, Hashable]]:
    def ask(known: Hashable) -> tuple[TraceQuestion, Hashable]:
        heard.append(known)
        return question(None if known == key else (HOST,)), key

    return ask


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    made = Tracer()
    yield made
    made.stop()


def pid_of(tracer: Tracer) -> int:
    assert tracer._process is not None
    return tracer._process.pid


def test_hosts_are_told_once(tracer: Tracer) -> None:
    heard: list[Hashable] = []
    refused = [tracer.answer(asking(heard), TraceAnswer).refused for _ in range(3)]
    assert (refused, heard) == (["no-such-end"] * 3, [None, "k", "k"])


def test_a_process_that_was_killed_is_started_again_and_told_everything(tracer: Tracer) -> None:
    heard: list[Hashable] = []
    tracer.answer(asking(heard), TraceAnswer)
    first = pid_of(tracer)
    os.kill(first, signal.SIGKILL)
    assert tracer.answer(asking(heard), TraceAnswer).refused == "no-such-end"
    assert pid_of(tracer) != first
    assert heard[-1] is None


def test_what_takes_too_long_is_ended_and_the_next_is_answered(tracer: Tracer) -> None:
    tracer.answer(asking([]), TraceAnswer)
    os.kill(pid_of(tracer), signal.SIGSTOP)
    tracer._timeout_s = 0.2
    with pytest.raises(Unavailable):
        tracer.answer(asking([]), TraceAnswer)
    tracer._timeout_s = 30
    assert tracer.answer(asking([]), TraceAnswer).refused == "no-such-end"


def test_nobody_is_left_when_nobody_asks() -> None:
    tracer = Tracer(idle_s=0.05)
    tracer.answer(asking([]), TraceAnswer)
    until = time.monotonic() + 20
    while tracer._process is not None and time.monotonic() < until:
        time.sleep(0.01)
    assert tracer._process is None
    tracer.stop()


def test_the_end_of_the_api_waits_for_no_answer(tracer: Tracer) -> None:
    tracer.answer(asking([]), TraceAnswer)
    os.kill(pid_of(tracer), signal.SIGSTOP)
    waits = tracer.jobs.ask(lambda: tracer.answer(asking([]), TraceAnswer))
    begun = time.monotonic()
    tracer.stop()
    assert time.monotonic() - begun < 20  # of the 30 that an answer may take
    assert isinstance(waits.exception(), (Unavailable, CancelledError))


def test_who_waits_is_bounded(tracer: Tracer) -> None:
    with ExitStack() as waiting:
        for _ in range(MOST_OF_A_PROJECT):
            waiting.enter_context(tracer.admit("p"))
        with pytest.raises(TooMany), tracer.admit("p"):
            pass
        for number in range(MOST_WAITING - MOST_OF_A_PROJECT):
            waiting.enter_context(tracer.admit(f"q{number}"))
        with pytest.raises(TooMany), tracer.admit("z"):
            pass
    with tracer.admit("p"):
        pass
    assert not tracer._waiting


def test_a_host_of_which_nothing_changed_is_not_planned_again() -> None:
    walker = Walker()
    other = TracedHost(HostSettings("other", "", "", ""), HOST.intent)
    walker.answer(question((HOST, other)))
    kept = walker._machines["h"]
    changed = TracedHost(other.settings, msgspec.Raw(msgspec.json.encode(Snapshot(2))))
    walker.answer(question((TracedHost(HOST.settings, msgspec.Raw(bytes(HOST.intent))), changed)))
    assert walker._machines["h"] is kept
    walker.answer(question((changed,)))
    assert walker._machines.keys() == {"other"}


def test_the_loop_is_free_while_a_trace_is_walked(tracer: Tracer) -> None:
    async def ask() -> tuple[bool, float]:
        longest = 0.0
        job = asyncio.wrap_future(tracer.jobs.ask(lambda: tracer.answer(asking([]), TraceAnswer)))
        while not job.done():
            begun = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - begun)
            await asyncio.sleep(0.001)
        return job.result().refused == "no-such-end", longest

    found = [asyncio.run(ask())]
    while found[-1][1] >= 0.5 and len(found) < 5:  # others use the machine, too: one that waited would do so each time
        found.append(asyncio.run(ask()))
    done, longest = found[-1]
    assert done and longest < 0.5
