"""A plan in parts, as `net.plan.parts` makes it and the reconciler takes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from deuteron.net.rows import HostPlan, Link, OvsPort

PartKey = tuple[int, str]
"""Where a part stands in the order of planning, and the object it is about."""


class PartedPlan(msgspec.Struct, frozen=True):
    """A plan in parts. Parts that did not change since an earlier plan are the same objects as in that."""

    parts: Mapping[PartKey, HostPlan]

    @property
    def ovs_ports(self) -> Iterable[OvsPort]:
        return (row for part in self.parts.values() for row in part.ovs_ports)

    @property
    def links(self) -> Iterable[Link]:
        return (row for part in self.parts.values() for row in part.links)
