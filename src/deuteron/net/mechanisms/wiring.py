"""What a mechanism is to a host: its part of the plan, its kernel tables, and what guests are plugged into.

The API never imports this module. `plan` and `plug` are pure; `tables` says which tables the mechanism brings, and
`open_drivers` opens their drivers in the thread that owns the host's tables.

What a port of the mechanism consists of is told by names, as in all of OpenStack: a device of a port has a prefix of
three letters and the first eleven characters of the port's id. A port is ACTIVE when every row is as wanted that
concerns `port:` and these eleven characters, and those that concern the devices they are put in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

from deuteron.model.intent import HostSettings, Plug, ServerPort
from deuteron.net.kernel.driver import Driver
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.ovsdb import OvsdbClient
from deuteron.net.kernel.rtnetlink import NetlinkSockets
from deuteron.net.mechanisms.registry import HOST_GROUP, load
from deuteron.net.plan.draft import Draft, Site
from deuteron.net.reconcile import Table
from deuteron.net.rows import HostPlan

Words = Callable[[Any], str]
Concerns = Callable[[Any], Iterable[str]]


class OwnTable(NamedTuple):
    """A kernel table that a mechanism brings to the host, beside those that every host has.

    `rows` takes the table's rows out of the plan: rows of a type of the mechanism's own are
    `lambda plan: plan.own.get(name, ())`, put there with `Draft.own`. For the rest see `net.reconcile.Table`.
    """

    name: str
    before: str
    """The table of the host before which its rows are put, and after which they are removed (see `net.host`)."""
    rows: Callable[[HostPlan], Iterable[Any]]
    words: Words
    concerns: Concerns
    namespace: Callable[[Any], str] | None = None
    waits_for: Concerns | None = None
    waits_always: bool = False
    contrast: Callable[[Any, Any], tuple[str, str]] | None = None
    is_late: bool = False
    """Whether its rows are removed after everything was put: what others refer to."""
    is_atomic: bool = False
    """Whether its removals and additions are one write."""


@dataclass(frozen=True)
class Kernel:
    """What a host lends to the drivers of a mechanism. `tables` is filled once all of them are opened."""

    state_dir: str
    """The host's own folder."""
    namespaces: Namespaces
    sockets: NetlinkSockets
    tables: Mapping[str, Table]


@dataclass(frozen=True)
class Drivers:
    """Drivers by the names of a mechanism's tables, and how to let go of what they hold."""

    by_table: Mapping[str, Driver[Any, Any]]
    close: Callable[[], None] = lambda: None
    ovsdb: OvsdbClient | None = None
    """Whose database wakes the host's thread when somebody changes it."""


@runtime_checkable
class HostMechanism(Protocol):
    """The half of a mechanism that runs in a host's agent."""

    @property
    def name(self) -> str: ...

    @property
    def tables(self) -> Sequence[OwnTable]: ...

    def plan(self, site: Site, draft: Draft) -> None:
        """Add the rows of the mechanism's part: its own devices, and those of `site.ports_wired_by(name)`. Pure."""
        ...

    def plug(self, port: ServerPort, settings: HostSettings) -> Plug:
        """What a server's network card is connected to. Pure; asked for ports that the mechanism bound."""
        ...

    def open_drivers(self, kernel: Kernel) -> Drivers:
        """A driver for each of `tables`. What they need (a program, a daemon) need not be there yet."""
        ...


def host_mechanisms_by_name(names: Sequence[str]) -> tuple[HostMechanism, ...]:
    """The halves for a host, in the order of `names`.

    Raises: UnknownMechanism.
    """
    return _mechanisms(tuple(names))


@lru_cache(maxsize=64)
def _mechanisms(names: tuple[str, ...]) -> tuple[HostMechanism, ...]:
    return tuple(load(HOST_GROUP, name, HostMechanism) for name in names)


def plug_of(mechanisms: Iterable[HostMechanism], settings: HostSettings) -> Callable[[ServerPort], Plug]:
    """How the cards of this host's servers are connected; those of a port that nobody here wires wait for ever."""
    by_name = {mechanism.name: mechanism for mechanism in mechanisms}

    def plug(port: ServerPort) -> Plug:
        mechanism = by_name.get(port.mechanism)
        return Plug(f"tap{port.port_id[:11]}") if mechanism is None else mechanism.plug(port, settings)

    return plug
