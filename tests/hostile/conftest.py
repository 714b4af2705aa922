"""A cloud to attack, and the people who do: Alice has what Mallory wants, Rita may only read, Nobody has no role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clouds import Cloud, running
from tests.hostile.client import Person, administrator, by_password, in_project, login
from tests.stores import up_options

PASSWORD = "a password of the test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/hostile/" in str(item.path):
            item.add_marker(pytest.mark.system)


@dataclass(frozen=True)
class World:
    """A running cloud with its people. Alice and Rita are in one project, Mallory and Rob in another."""

    cloud: Cloud
    port: int
    admin: Person
    alice: Person
    rita: Person
    mallory: Person
    rob: Person

    @property
    def state(self) -> Path:
        return self.cloud.state

    def user(self, name: str, project: str, role: str = "member") -> Person:
        """A new user with one role in the project, logged in."""
        made = self.admin.create("/identity/v3/users", "user", name=name, password=PASSWORD, domain_id="default")
        (found,) = self.admin.get(f"/identity/v3/roles?name={role}")["roles"]
        self.admin.expect("PUT", f"/identity/v3/projects/{project}/users/{made['id']}/roles/{found['id']}")
        return self.login(name, project)

    def login(self, name: str, project: str) -> Person:
        answer, person = login(self.port, by_password(name, PASSWORD), in_project(project))
        assert answer.status == 201, answer.raw
        return person

    def project(self, name: str) -> str:
        made: str = self.admin.create("/identity/v3/projects", "project", name=name, domain_id="default")["id"]
        return made

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the cloud's parts, by the end of their command line."""
        found: dict[str, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                except OSError:
                    continue
                if any(str(self.state) in word for word in words):
                    found.setdefault(" ".join(words), int(entry.name))
        return found

    @property
    def sandbox_pids(self) -> list[int]:
        """Every process in the pid namespace of the hosts."""
        theirs = Path(f"/proc/{self.pid_of('deuteron.agent')}/ns/pid").stat().st_ino
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):
                    if (entry / "ns" / "pid").stat().st_ino == theirs:
                        found.append(int(entry.name))
        return found

    def pid_of(self, module: str) -> int:
        (found,) = [pid for command, pid in self.pids.items() if f"-m {module} " in command]
        return found


_STORES = '[image.stores.fast]\n[image.stores.slow]\nfilesystem_store_datadir = "slow"\n'


@contextmanager
def peopled(firewall: str) -> Iterator[World]:
    """A cloud with its people, and with two stores of images."""
    with running("--firewall", firewall, *up_options(), operator=_STORES) as cloud:
        admin = administrator(cloud.state)
        nobody = Person(admin.port)
        world = World(cloud, admin.port, admin, nobody, nobody, nobody, nobody)
        hers, his = world.project("alice"), world.project("mallory")
        yield World(
            cloud,
            admin.port,
            admin,
            alice=world.user("alice", hers),
            rita=world.user("rita", hers, "reader"),
            mallory=world.user("mallory", his),
            rob=world.user("rob", his, "reader"),
        )


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The cloud that all attacks on the API share."""
    with peopled("openvswitch") as made:
        yield made


@pytest.fixture(scope="session")
def hybrid_world() -> Iterator[World]:
    """The same with the other firewall."""
    with peopled("iptables_hybrid") as made:
        yield made
