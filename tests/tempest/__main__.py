"""Runs tempest against a cloud that is up, and says which tests passed, failed and were skipped, and why.

    .venv/bin/python -m tests.tempest                          the tests of the Network API, all of them
    .venv/bin/python -m tests.tempest --powered                what OpenStack Powered Compute asks for, of a cloud
                                                               with the operator's settings of `suite.POWERED_OPERATOR`
    .venv/bin/python -m tests.tempest 'test_ports'             those whose names match
    .venv/bin/python -m tests.tempest --plugin [NAMES]         Neutron's own tests of its API

The cloud is that of `--state-dir`, else of DEUTERON_STATE_DIR. Exits with 1 when a test failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

from tests.tempest import suite


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.tempest", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pattern", nargs="?", help="a regular expression for names of tests")
    parser.add_argument("--powered", action="store_true", help="what OpenStack Powered Compute asks for")
    parser.add_argument("--plugin", action="store_true", help="those of Neutron's plugin for tempest")
    parser.add_argument("--state-dir", type=Path, default=os.environ.get("DEUTERON_STATE_DIR"), help="of the cloud")
    asked = parser.parse_args()
    if asked.state_dir is None:
        parser.error("which cloud? name its --state-dir, or set DEUTERON_STATE_DIR")
    of = suite.PLUGIN if asked.plugin else suite.POWERED if asked.powered else suite.TEMPEST
    tests = suite.powered() if asked.powered else suite.names(of, asked.pattern)
    begun = time.monotonic()
    found = suite.run(of, Path(asked.state_dir) / "clouds.yaml", tests)
    for result in found:
        first, *rest = result.reason.splitlines() or [""]
        print(result.status, result.name, first)
        if result.status == "failed":
            print(*(f"    {line}" for line in rest), sep="\n")
    counts = Counter(result.status for result in found)
    said = ", ".join(f"{counts[status]} {status}" for status in ("passed", "failed", "skipped"))
    print(f"{len(found)} tests in {time.monotonic() - begun:.0f} s: {said}")
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
