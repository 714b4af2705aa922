"""Packets that bridges, devices and rules have counted, read a whole batch at a time; nothing is written.

A bridge is asked over its OpenFlow socket, all questions in one write and without a process: of flows by their cookie,
which the switch has an index of, and of ports by their number. Its threads bring counts of flows up to date about
twice a second. Devices of Linux bridges are read from the kernel's table, rules of iptables as `iptables-save -c`
prints them.

Source: OpenFlow Switch Specification 1.3, sections 7.3.5 (multipart), 7.3.5.3 (aggregate flow statistics), 7.3.5.6
(port statistics); openvswitch/ovs ofproto/ofproto.c `collect_rules_loose`; proc_net_dev(5); iptables-save(8).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from deuteron.net.kernel import conversation
from deuteron.net.kernel.conversation import Conversation, Message
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.programs import finish, start
from deuteron.net.rows import HOST

_MULTIPART_REQUEST, _MULTIPART_REPLY = 18, 19
_AGGREGATE, _PORT = 2, 4
_PART = struct.Struct("!HH4x")
_FLOWS = struct.Struct("!B3xII4xQQHH4x")
"""Table, output port, output group, cookie, its mask, and a match of everything."""
_FOUND = struct.Struct("!QQI4x")
_OF_PORT = struct.Struct("!I4x")
_TOLD = struct.Struct("!I4xQQ")
_EVERY_TABLE, _ANY, _WHOLE = 0xFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_OXM, _EMPTY_BYTES = 1, 4
_UNKNOWN: Final = _WHOLE
"""What the switch says of a count that it does not keep."""
_RULE: Final = re.compile(r"\[(\d+):\d+\] (-A .*)")


class Passed(NamedTuple):
    """Packets that came into a bridge by a device, and that left it there."""

    entered: int
    left: int


def of_bridge(
    bridge: str, cookies: Iterable[int], ports: Iterable[int], run_dir: str = "/run/openvswitch"
) -> tuple[dict[int, int], dict[int, Passed]]:
    """Packets by cookie, and by number of port; of what the bridge does not have, nothing.

    Raises: OSError when the bridge is not there.
    """
    asked: list[tuple[int, int, bytes]] = []
    for cookie in dict.fromkeys(cookies):
        body = _FLOWS.pack(_EVERY_TABLE, _ANY, _ANY, cookie, _WHOLE, _OXM, _EMPTY_BYTES)
        asked.append((_AGGREGATE, cookie, body))
    asked += [(_PORT, port, _OF_PORT.pack(port)) for port in dict.fromkeys(ports)]
    flows: dict[int, int] = {}
    devices: dict[int, Passed] = {}
    talk = Conversation(bridge, conversation.V1_3, run_dir)
    try:
        talk.send(*(
            Message(_MULTIPART_REQUEST, number, _PART.pack(kind, 0) + body)
            for number, (kind, _, body) in enumerate(asked, start=1)
        ))  # fmt: skip
        waiting = len(asked)
        while waiting:
            for kind, number, body in talk.receive():
                if not 1 <= number <= len(asked) or kind not in (_MULTIPART_REPLY, conversation.ERROR):
                    continue
                waiting -= 1  # each is answered once: neither answer is longer than a message
                if kind == conversation.ERROR:
                    continue
                what, name, _ = asked[number - 1]
                told = body[_PART.size :]
                if what == _AGGREGATE and len(told) >= _FOUND.size:
                    packets, _, count = _FOUND.unpack_from(told)
                    if count and packets != _UNKNOWN:
                        flows[name] = packets
                elif what == _PORT and len(told) >= _TOLD.size:
                    _, entered, left = _TOLD.unpack_from(told)
                    if _UNKNOWN not in (entered, left):
                        devices[name] = Passed(entered, left)
    finally:
        talk.close()
    return flows, devices


def of_devices(namespaces: Namespaces, namespace: str) -> dict[str, Passed]:
    """Of every device of a namespace. What one of the host received came into the bridge that it is in; what one of
    another namespace sent came into the bridge that its other side is in.

    Raises: KernelError.
    """
    found = {}
    with namespaces.entered(namespace):
        text = Path("/proc/thread-self/net/dev").read_text()
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = rest.split()
        received, sent = int(numbers[1]), int(numbers[9])
        found[name.strip()] = Passed(received, sent) if namespace == HOST else Passed(sent, received)
    return found


def of_rules(namespaces: Namespaces, namespace: str, rules: Sequence[str]) -> dict[str, int]:
    """Packets by rule, as `iptables-save` prints it; those of IPv6 are asked for when one is not found.

    Raises: KernelError.
    """
    found: dict[str, int] = {}
    for program in ("iptables-save", "ip6tables-save"):
        wanted = {rule for rule in rules if rule not in found}
        if not wanted:
            break
        with namespaces.entered(namespace):
            process = start([program, "-c"])
        _, output, _ = finish(process)
        for line in output.splitlines():
            counted = _RULE.fullmatch(line.strip())
            if counted is not None and counted[2] in wanted:
                found[counted[2]] = int(counted[1])
    return found
