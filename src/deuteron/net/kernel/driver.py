"""The contract of a driver: one table of the kernel (or of a daemon) as rows.

    KernelError             a failure with a reason for people
     +- Unavailable         the other side cannot be asked now (Open vSwitch is down, a program is missing)

A driver observes and applies; it never decides what should be. It knows its own objects by a mark
that its module docstring names. `observe` returns every marked row, and those rows of `wanted`
that exist. A field that a wanted row leaves open (None) is never a difference: an observed row that
satisfies the wanted one *is* the wanted one.

`apply` tries every row, even when an earlier one fails, and reports each: acknowledged, failed with a
reason, or awaited: what takes the other side long is begun and not waited for. It is idempotent;
applying a delta that is already true is not an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from deuteron.net.delta import Delta

K = TypeVar("K")
V = TypeVar("V")

Scope = frozenset[str] | None
"""Namespaces to look at; None for all. Drivers of tables without namespaces ignore it."""


class KernelError(Exception):
    """A write or an observation that the kernel refused."""


class Unavailable(KernelError):
    """The other side cannot be asked now; nothing is known to have changed."""


@dataclass
class Applied(Generic[K]):
    """What became of the rows of a delta."""

    done: set[K] = field(default_factory=set)
    failed: dict[K, str] = field(default_factory=dict)
    awaited: dict[K, str] = field(default_factory=dict)
    """Rows that were not tried, since something the driver has asked for is not there yet: offered again soon."""
    remade: set[K] = field(default_factory=set)
    """Of those done, what was there and had to be made anew: what was written about it went with it."""


class Driver(Protocol[K, V]):
    @property
    def mark(self) -> str:
        """How this driver knows its own objects, in words."""

    @property
    def writes(self) -> Counter[str]:
        """Writes so far by kind. An `apply` of an empty difference adds nothing."""

    def observe(self, wanted: Mapping[K, V], scope: Scope = None) -> dict[K, V]:
        """Every row that is ours, and those of `wanted` that exist, within `scope`.

        Raises: KernelError if the table cannot be read; then nothing is known.
        """

    def apply(self, delta: Delta[K, V]) -> Applied[K]:
        """Carry out `delta`; every key of it is in the answer. Does not raise for a row that fails."""


@runtime_checkable
class Sliced(Protocol):
    """A driver of a table that is too large to be looked at in one piece."""

    def slices(self, wanted: Mapping[Any, Any]) -> Sequence[Any]:
        """Pieces that together are the whole table."""

    def is_in_slice(self, key: Any, piece: Any, wanted: Mapping[Any, Any]) -> bool:
        """Whether the row with `key`, wanted or observed, belongs to a piece."""

    def observe_slice(self, wanted: Mapping[Any, Any], piece: Any) -> dict[Any, Any]:
        """As `observe`, of one piece. Raises: KernelError."""
