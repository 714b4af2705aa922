"""QoS policies with what their rules come to, where ports or networks obey them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set
from typing import Final

from deuteron.hub.projections.contract import Made, Reading, Shared, Touched
from deuteron.model.intent import IntentQosPolicy, PacketLimit, RateLimit
from deuteron.rules.network import qos

_DEFAULT_BURST: Final = 0.8
"""Of a second's traffic. Source: neutron-lib, neutron_lib/services/qos/constants.py, DEFAULT_BURST_RATE."""

_MOST_PACKETS: Final = 2**32 - 1
"""That a meter counts (OpenFlow 1.3 section 7.3.4.4); a rule may say more."""


def _limit(said: tuple[int, int] | None) -> RateLimit | None:
    if said is None or said[0] == 0:  # as with Open vSwitch's policing, 0 is no limit
        return None
    kbps, burst_kbit = said
    return RateLimit(kbps, burst_kbit or max(1, round(kbps * _DEFAULT_BURST)))


def _packets(said: tuple[int, int] | None) -> PacketLimit | None:
    if said is None or said[0] == 0:
        return None
    kpps, burst = said
    # A meter without a burst lets pass at once what comes in a second (openvswitch, lib/dpif-netdev.c).
    return PacketLimit(min(_MOST_PACKETS, kpps * 1000), min(_MOST_PACKETS, (burst or kpps) * 1000))


def _members(reading: Reading, scopes: Collection[str]) -> Iterable[tuple[str, str]]:
    return [(id, id) for id in scopes]


def _build(reading: Reading, ids: Collection[str]) -> Iterator[Made]:
    for id, effect in qos.effects_of(reading.tx, ids).items():
        item = IntentQosPolicy(
            id,
            _limit(effect.egress),
            _limit(effect.ingress),
            effect.dscp_mark,
            _packets(effect.egress_packets),
            _packets(effect.ingress_packets),
        )
        yield Made(item, scope=id)


def _dirty(touched: Touched) -> Set[str]:
    # A rule that comes, changes or goes is a change of its policy.
    return touched.of("qos_policy")


PROJECTION = Shared("qos_policy", _dirty, _build, _members)
