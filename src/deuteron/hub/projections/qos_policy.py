"""QoS policies with what their rules come to, where ports or networks obey them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set

from deuteron.hub.projections.contract import Made, Reading, Shared, Touched
from deuteron.model.intent import IntentQosPolicy, RateLimit
from deuteron.rules.network import qos

_DEFAULT_BURST = 0.8
"""Of a second's traffic. Source: neutron-lib, neutron_lib/services/qos/constants.py, DEFAULT_BURST_RATE."""


def _limit(said: tuple[int, int] | None) -> RateLimit | None:
    if said is None or said[0] == 0:  # as with Open vSwitch's policing, 0 is no limit
        return None
    kbps, burst_kbit = said
    return RateLimit(kbps, burst_kbit or max(1, round(kbps * _DEFAULT_BURST)))


def _members(reading: Reading, scopes: Collection[str]) -> Iterable[tuple[str, str]]:
    return [(id, id) for id in scopes]


def _build(reading: Reading, ids: Collection[str]) -> Iterator[Made]:
    for id, effect in qos.effects_of(reading.tx, ids).items():
        item = IntentQosPolicy(id, _limit(effect.egress), _limit(effect.ingress), effect.dscp_mark)
        yield Made(item, scope=id)


def _dirty(touched: Touched) -> Set[str]:
    # A rule that comes, changes or goes is a change of its policy.
    return touched.of("qos_policy")


PROJECTION = Shared("qos_policy", _dirty, _build, _members)
