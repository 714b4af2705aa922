"""A read never writes: what has to be made first is made by the application, as a write of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import pytest

from deuteron.api.app import App
from deuteron.store.database import Database, Tx
from tests.unit.personas.test_routes import SERVICES, TABLE, Person, World, _shape, filled
from tests.unit.personas.test_routes import world as world

T = TypeVar("T")
_WRITE = ("/associate", "/disassociate", "/disassociate_all")
"""Cinder lets these be asked for with GET, and writes."""
READS = [line for line in TABLE if line.startswith("GET ") and not line.endswith(_WRITE)]
_NEVER_THERE = (
    "/network/v2.0/auto-allocated-topology/{project}",
    "/compute/v2.1/servers/{server}/diagnostics",
    "/compute/v2.1/os-console-auth-tokens/{key}",
    "/compute/v2.1/servers/{server}/shares/{volume}",
    *(
        f"/volume/v3/{kind}{tail}"
        for kind in ("os-volume-manage", "manageable_volumes", "os-snapshot-manage", "manageable_snapshots")
        for tail in ("", "/detail")
    ),
    "/volume/v3/clusters/{key}",
    "/volume/v3/types/{volume_type}/encryption/{key}",
)
"""There is no default pool to make a topology of; no host that runs
the server, or says what its back end has; no cluster, no type whose volumes are encrypted, no
share of files, and no token of a console."""
MAKE_FIRST = {
    f"GET {service.prefix}{_shape(route.path)}"
    for service in SERVICES.values()
    for route in service.routes()
    if route.writes_if is not None
}


@dataclass
class Watching:
    """A database that notes who writes: `True` for one that does so in the midst of a read."""

    inner: Any
    writes: list[bool] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def submit(self, function: Callable[[Tx], T]) -> Future[T]:
        self.writes.append(getattr(self.inner._local, "tx", None) is not None)
        done: Future[T] = self.inner.submit(function)
        return done

    def write(self, function: Callable[[Tx], T]) -> T:
        return self.submit(function).result()


@dataclass(frozen=True)
class Watched:
    database: Watching
    people: dict[str, Person]
    ids: dict[str, str]


@pytest.fixture(scope="module")
def watched(world: World) -> Iterator[Watched]:
    database = Watching(world.forgetful.parts.database)
    app = App(replace(world.forgetful.parts, database=cast(Database, database)), tuple(SERVICES.values()))
    yield Watched(database, {name: replace(person, app=app) for name, person in world.people.items()}, world.own)


@pytest.mark.parametrize("line", READS)
def test_no_read_writes(watched: Watched, line: str) -> None:
    about, (_, _, path) = TABLE[line], line.partition(" ")
    target = filled(path + (f"?{about.query}" if about.query else ""), watched.ids)
    watched.database.writes.clear()

    answers = {
        name: person.ask("GET", target, None, filled(about.headers, watched.ids)).status
        for name, person in watched.people.items()
    }

    assert any(status < 400 or status == 501 for status in answers.values()) or path in _NEVER_THERE, answers
    assert not any(watched.database.writes), "a handler wrote while it read"
    if _shape(line) not in MAKE_FIRST:
        assert watched.database.writes == []


def test_the_default_group_is_made_by_a_write_before_it_is_shown(watched: Watched) -> None:
    person = watched.people["project-admin"]
    stranger = "5" * 32
    watched.database.writes.clear()

    answer = person.ask("GET", f"/network/v2.0/security-groups?project_id={stranger}")

    assert [group["name"] for group in answer.json["security_groups"]] == ["default"]
    assert watched.database.writes == [False]
