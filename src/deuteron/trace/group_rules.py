"""What a rule of a security group is about, as people read it: a protocol, and its ports or kind of message.

Source: OpenStack's Network API, security group rules; RFC 792, RFC 4443 for the types of ICMP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deuteron.trace.packet import ICMP, ICMP6, SCTP, TCP, UDP

_PROTOCOLS: Final = {
    "icmp": ICMP, "tcp": TCP, "udp": UDP, "icmpv6": ICMP6, "ipv6-icmp": ICMP6, "sctp": SCTP,
}  # fmt: skip
_WITH_PORTS: Final = (TCP, UDP, SCTP)
_ECHO, _ECHO6 = 8, 128


def is_about(rule: Mapping[str, Any], protocol: int, port: int, *, is_six: bool) -> bool:
    """Whether a rule is about a packet to this port; of ICMP, whose type and code it says, an echo."""
    said = rule["protocol"]
    if said in (None, "any", "0", 0):
        return True
    meant = _PROTOCOLS.get(str(said)) or int(said)
    if meant == ICMP and is_six:
        meant = ICMP6
    if meant != protocol:
        return False
    low, high = rule["port_range_min"], rule["port_range_max"]
    if low is None:
        return True
    if meant in (ICMP, ICMP6):
        return bool(low == (_ECHO6 if meant == ICMP6 else _ECHO) and high in (None, 0))
    if meant not in _WITH_PORTS:
        return True
    return bool(low <= port <= (low if high is None else high))
