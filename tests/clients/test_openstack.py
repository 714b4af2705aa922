"""The commands that a person would try, with the official client, on a cloud without a data plane.

The stories are in `openstack-*.yaml`; each step is one command of the client's shell, run in this process because
starting it takes ten times as long as what it does. A step is `run: words`, with `as` (demo unless told), and what is
expected: `shows`, columns of the one object answered; `rows`, columns of rows that must be among those listed, and
`count`, how many rows there are; `says`, words of the output; `fails`, words of the refusal. `save` keeps a column
for later steps (`$name`). A step with `eventually` is run again until it holds: what it shows is the agent's to do.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import osc_lib.clientmanager
import pytest
import yaml
from openstackclient import shell
from openstackclient.common import clientmanager

from tests.clouds import running

FILES = sorted(Path(__file__).parent.glob("openstack-*.yaml"))
EVENTUALLY_S = 30.0
_STORES = """
[image.stores.fast]
[image.stores.slow]
filesystem_store_datadir = "slow"
store_description = "spinning"
"""


@dataclass(frozen=True)
class Done:
    exit: int
    out: str
    err: str


@pytest.fixture(scope="module")
def cloud() -> Iterator[Path]:
    """The folder of a running cloud that simulates its hosts, and has two stores of images."""
    with running("--dataplane", "none", operator=_STORES) as made:
        yield made.state


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_client_is_answered_as_openstack_answers(
    path: Path, cloud: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud / "clouds.yaml"))
    names = {"folder": str(tmp_path)}
    (tmp_path / "data").write_bytes(b"a small disk" * 100)
    for number, step in enumerate(yaml.safe_load(path.read_text()), 1):
        told = f"step {number}: {step['run']}"
        words = [_filled(word, names) for word in shlex.split(step["run"])]
        as_json = any(key in step for key in ("shows", "rows", "count", "save"))
        deadline = time.monotonic() + (EVENTUALLY_S if step.get("eventually") else 0)
        while True:
            done = _run(step.get("as", "demo"), [*words, "-f", "json"] if as_json else words)
            try:
                _check(told, step, done, names)
                break
            except AssertionError:
                if time.monotonic() > deadline:
                    raise


def test_the_stories_hold_at_least_sixty_commands() -> None:
    assert sum(len(yaml.safe_load(path.read_text())) for path in FILES) >= 60


def _check(told: str, step: dict[str, Any], done: Done, names: dict[str, str]) -> None:
    if "fails" in step:
        assert done.exit != 0, f"{told}: did not fail: {done.out}"
        assert _filled(step["fails"], names) in done.err, f"{told}: {done.err}"
        return
    assert done.exit == 0, f"{told}: {done.exit} {done.out} {done.err}"
    assert _filled(step.get("says", ""), names) in done.out + done.err, f"{told}: {done.out} {done.err}"
    if any(key in step for key in ("shows", "rows", "count", "save")):
        _check_columns(told, step, json.loads(done.out), names)


def _check_columns(told: str, step: dict[str, Any], found: Any, names: dict[str, str]) -> None:
    for name, column in step.get("save", {}).items():
        names[name] = str(found[column])
    for column, value in _filled(step.get("shows", {}), names).items():
        assert column in found and found[column] == value, f"{told}: {column} is {found.get(column)!r} in {found}"
    for row in _filled(step.get("rows", []), names):
        assert any(all(item.get(key) == row[key] for key in row) for item in found), f"{told}: no {row} in {found}"
    if "count" in step:
        assert len(found) == step["count"], f"{told}: {found}"


def _run(user: str, words: list[str]) -> Done:
    out, err = io.StringIO(), io.StringIO()
    for manager in (clientmanager.ClientManager, osc_lib.clientmanager.ClientManager):
        for cache in vars(manager).values():
            if isinstance(cache, osc_lib.clientmanager.ClientCache):
                # The client keeps its connections on the class: the next command would speak as the user before.
                cache._handle = None
    handlers = list(logging.getLogger().handlers)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = shell.OpenStackShell().run(["--os-cloud", user, *words])
        except SystemExit as stop:  # argparse leaves so
            code = stop.code
        finally:
            for handler in list(logging.getLogger().handlers):
                if handler not in handlers:
                    logging.getLogger().removeHandler(handler)
    return Done(int(code or 0), out.getvalue(), err.getvalue())


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\$([a-z0-9_]+)", lambda found: names.get(found.group(1), found.group(0)), value)
    if isinstance(value, dict):
        return {key: _filled(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    return value
