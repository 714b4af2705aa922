"""The long comparison with the real Neutron, in a bounded time.

    python -m tests.oracle --requests 20000 --minutes 60 --processes 2 --seed 1

Every difference is collected, not the first alone; those without a reason are printed with the request that showed
each, and the seed that drew it. `--seed N --seeds 1` plays the sequences of one seed again. The exit status is 1 when
something differs without a reason, or when time ended before so many requests were compared.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import structlog

from tests.oracle.neutron import environment, running
from tests.oracle.play import Tally, drawn, play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle")
    parser.add_argument("--requests", type=int, default=20_000, help="how many to compare (default 20000)")
    parser.add_argument("--minutes", type=float, default=60, help="when to end at the latest (default 60)")
    parser.add_argument("--processes", type=int, default=2, help="Neutrons side by side (default 2)")
    parser.add_argument("--seed", type=int, default=None, help="the first seed (default: any)")
    parser.add_argument("--seeds", type=int, default=None, help="how many seeds at most")
    parser.add_argument("--save", type=Path, help="a file for the whole conversations that ended in a difference")
    parser.add_argument("--reasons", type=Path, help="a file for what each reason explained, with examples")
    wanted = parser.parse_args()
    first = random.randrange(10**6) if wanted.seed is None else wanted.seed
    environment()
    began = time.monotonic()
    whole = Tally()
    print(f"seeds from {first}, in {wanted.processes} processes", flush=True)
    with ProcessPoolExecutor(wanted.processes) as pool:
        share = -(-wanted.requests // wanted.processes)
        shares = [
            pool.submit(_play, range(first + number, 10**9, wanted.processes)[: wanted.seeds], share, wanted.minutes)
            for number in range(wanted.processes)
        ]
        for done in as_completed(shares):
            whole.join(done.result())
    minutes = (time.monotonic() - began) / 60
    print(f"{whole.compared} requests compared in {minutes:.1f} minutes, {whole.compared / minutes:.0f} a minute")
    print("\n".join(whole.lines()))
    if wanted.save is not None:
        told = ("\n".join((f"==== {' '.join(signature)}", *said)) for signature, said in whole.unexplained.items())
        wanted.save.write_text("\n\n".join(told))
    if wanted.reasons is not None:
        wanted.reasons.write_text("\n".join(whole.explanations()))
    return 1 if whole.unexplained or (whole.compared < wanted.requests and wanted.seeds is None) else 0


def _play(seeds: range, requests: int, minutes: float) -> Tally:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    whole = Tally()
    end = time.monotonic() + minutes * 60
    with running() as neutron:
        for seed in seeds:
            one = Tally()
            for sequence in drawn(seed):
                if whole.compared + one.compared >= requests or time.monotonic() > end:
                    break
                play(neutron, sequence, one)
            print("\n".join(_told(seed, one, whole)), flush=True)
            whole.join(one)
            if whole.compared >= requests or time.monotonic() > end:
                break
    return whole


def _told(seed: int, one: Tally, before: Tally) -> Iterator[str]:
    yield f"seed {seed}: {one.compared} requests, {sum(one.seen.values())} differences without a reason"
    for signature, said in one.unexplained.items():
        if signature not in before.unexplained:
            step, place, there, here = signature
            yield f"  {step}: {place}: {there} there, {here} here"
            yield from (f"      {line[:600]}" for line in said[-1:])


if __name__ == "__main__":
    sys.exit(main())
