"""Which rules of nftables, those of iptables among them, certain packets meet: the kernel's own word, packet by packet.

One netlink socket owns a table whose chains come before all others, where packets come in and where they are made;
they set the trace bit of the packets asked for, and no other packet is touched. The kernel tells the same socket of
each rule that such a packet matches. The socket may be handed to another process.

Mark: the tables `deuteron-trace` of the families inet and bridge. They belong to the socket (`flags owner`): however
its process ends, the kernel takes them away with it, so a crash leaves nothing.

Source: linux include/uapi/linux/netfilter/nf_tables.h; net/netfilter/nf_tables_trace.c; nft(8), `meta nftrace`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from deuteron.net.kernel.driver import KernelError
from deuteron.net.kernel.programs import finish, start
from deuteron.net.kernel.rtnetlink import attribute, attributes
from deuteron.net.traced import Match, RuleKey, Step

TABLE: Final = "deuteron-trace"

_NETFILTER, _SOL_NETLINK, _JOIN, _TRACES = 12, 270, 1, 9
_BUFFER_FORCED, _BUFFER_BYTES = 33, 64 << 20  # SO_RCVBUFFORCE
_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct(">BBH")  # struct nfgenmsg: family, version, resource
_SUBSYSTEM = 10
_BEGIN, _END, _ERROR = 0x10, 0x11, 2
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE, _TRACE = 0, 3, 6, 17
_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_NESTED: Final = 0x8000
_INET, _BRIDGE = 1, 7
_OWNER = 2
_HOOKS: Final = {"prerouting": 0, "output": 3}
_FIRST: Final = -450
"""The priority: before `raw` and, on bridges, before destination NAT."""
_TRANSPORT, _L4PROTO, _NFTRACE = 2, 16, 12
_RULE = 3
_DROP, _JUMP, _GOTO = 0, -3, -4
_LONGEST = 1 << 16
_TRIES = 5
_SHOWN = re.compile(r"^\t\t(.*\S) # handle (\d+)$", re.MULTILINE)
_GET_RULE, _DUMP, _DONE = 7, 0x300, 3
_IPTABLES: Final = {"ip": "iptables-save", "ip6": "ip6tables-save"}


def open_trace(matches: Sequence[Match], *, has_bridges: bool) -> socket.socket:
    """A socket that is told of the packets that match any of these, in the namespace of the calling thread.

    `has_bridges` asks for frames at Linux bridges, too.

    Raises: KernelError if the kernel does not take it.
    """
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    try:
        opened.bind((0, 0))
        with contextlib.suppress(OSError):  # not everybody may have more than the machine's usual
            opened.setsockopt(socket.SOL_SOCKET, _BUFFER_FORCED, _BUFFER_BYTES)
        opened.settimeout(10.0)
        _order(opened, list(_table(matches, _INET, ("prerouting", "output"))))
        if has_bridges:
            _order(opened, list(_table(matches, _BRIDGE, ("prerouting",))))
        opened.setsockopt(_SOL_NETLINK, _JOIN, _TRACES)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise KernelError(f"nftables cannot trace here: {error.strerror or error}") from error
    return opened


def steps(trace: socket.socket) -> list[Step]:
    """What the kernel has told since this was asked last.

    Raises: KernelError if it told more than there was room for, and some is lost.
    """
    found: list[Step] = []
    while True:
        try:
            data = trace.recv(_LONGEST)
        except BlockingIOError:
            return found
        except OSError as error:
            raise KernelError(f"the trace of rules is not whole: {error.strerror}") from error
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            if kind == _SUBSYSTEM << 8 | _TRACE:
                step = _step(data[at + _HEADER.size + _GENERIC.size : at + length])
                if step is not None:
                    found.append(step)
            at += (length + 3) & ~3


def rules_here() -> Mapping[RuleKey, str]:
    """Every rule in the namespace of the calling thread: as iptables-save has it, or as nft prints others.

    Raises: KernelError.
    """
    for _ in range(_TRIES):
        found = _rules_here()
        if found is not None:
            return found
    raise KernelError("the kernel and iptables-save tell of different rules: they change all the time")


def _rules_here() -> Mapping[RuleKey, str] | None:
    """None where kernel and program, one after the other, do not tell of the same rules."""
    handles: dict[tuple[str, str, str], list[int]] = {}
    for family, table, chain, handle in _handles():
        if table != TABLE:
            handles.setdefault((family, table, chain), []).append(handle)
    texts: dict[tuple[str, str, str], list[str]] = {}
    for of, program in _IPTABLES.items():
        if any(place[0] == of for place in handles):
            texts |= {(of, *place): lines for place, lines in _saved(program).items()}
    found: dict[RuleKey, str] = {}
    for place, known in handles.items():
        if place[0] in _IPTABLES:
            lines = texts.get(place, [])
            if len(lines) != len(known):
                return None
            found |= {(*place, handle): text for handle, text in zip(known, lines, strict=True)}
        else:
            shown = _output("nft", "--handle", "--stateless", "list", "chain", *place)
            found |= {(*place, int(handle)): text for text, handle in _SHOWN.findall(shown)}
    return found


def _handles() -> list[RuleKey]:
    """Every rule of nftables, in the order of its chain."""
    found: list[RuleKey] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as link:
        link.settimeout(10.0)
        try:
            link.send(_message(_SUBSYSTEM << 8 | _GET_RULE, _DUMP, socket.AF_UNSPEC, b""))
            while True:
                data, at = link.recv(_LONGEST), 0
                while at + _HEADER.size <= len(data):
                    length, kind, _, _, _ = _HEADER.unpack_from(data, at)
                    if kind in (_DONE, _ERROR):
                        return found
                    family = _FAMILIES.get(data[at + _HEADER.size], "")
                    rule = attributes(data[at + _HEADER.size + _GENERIC.size : at + length])
                    (handle,) = struct.unpack(">Q", rule[3])
                    found.append((family, _text(rule[1]), _text(rule[2]), handle))
                    at += (length + 3) & ~3
        except OSError as error:
            raise KernelError(f"the rules of nftables cannot be read: {error.strerror or error}") from error


def _saved(program: str) -> dict[tuple[str, str], list[str]]:
    """The rules of each table's chains, in their order: the same as those of nft."""
    found: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in _output(program).splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A "):
            found.setdefault((table, line.split(" ")[1]), []).append(line.strip())
    return found


def _output(*command: str) -> str:
    status, output, complaints = finish(start(command))
    if status != 0:
        raise KernelError(f"{command[0]} failed: {complaints}")
    return output


# --- what is told -----------------------------------------------------------------------------------------------------

_AT_TABLE, _AT_CHAIN, _AT_HANDLE, _AT_TYPE, _AT_VERDICT, _AT_ID = 1, 2, 3, 4, 5, 6
_AT_NETWORK, _AT_TRANSPORT = 8, 9
_FAMILIES: Final = {1: "inet", 2: "ip", 7: "bridge", 10: "ip6"}


def _step(body: bytes) -> Step | None:
    found = attributes(body)
    table = _text(found.get(_AT_TABLE, b""))
    if table == TABLE or _AT_ID not in found or _AT_TYPE not in found:
        return None
    (kind,) = struct.unpack(">I", found[_AT_TYPE])
    (packet,) = struct.unpack(">I", found[_AT_ID])
    protocol = _protocol(found.get(_AT_NETWORK, b""))
    verdict = attributes(found.get(_AT_VERDICT, b"")).get(1)
    code = struct.unpack(">i", verdict)[0] if verdict is not None else 1
    rule = None
    if kind == _RULE and _AT_HANDLE in found:
        (handle,) = struct.unpack(">Q", found[_AT_HANDLE])
        family = _FAMILIES.get(struct.unpack(">I", found[15])[0], "") if 15 in found else ""
        rule = (family, table, _text(found.get(_AT_CHAIN, b"")), handle)
    return Step(packet, protocol, found.get(_AT_TRANSPORT, b""), rule, code == _DROP, code in (_JUMP, _GOTO))


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode()


def _protocol(head: bytes) -> int:
    if len(head) < 20:
        return 0
    return head[6] if head[0] >> 4 == 6 else head[9]


# --- what is asked ----------------------------------------------------------------------------------------------------


def _table(matches: Sequence[Match], family: int, hooks: Sequence[str]) -> Iterator[tuple[int, int, bytes]]:
    name = _string(1, TABLE)
    yield _NEW_TABLE, family, name + _number(2, _OWNER)
    for hook in hooks:
        place = _nest(4, _number(1, _HOOKS[hook]) + attribute(2, struct.pack(">i", _FIRST)))
        yield _NEW_CHAIN, family, name + _string(3, hook) + place + _string(7, "filter")
        for match in matches:
            tests = (
                _meta(_L4PROTO, into=True),
                _compare(bytes([match.protocol])),
                _expression(
                    "payload",
                    _number(1, 1) + _number(2, _TRANSPORT) + _number(3, match.offset) + _number(4, len(match.data)),
                ),
                _compare(match.data),
                _expression("immediate", _number(1, 1) + _nest(2, attribute(1, b"\1\0\0\0"))),
                _meta(_NFTRACE, into=False),
            )
            yield _NEW_RULE, family, name + _string(2, hook) + _nest(4, b"".join(tests))


def _order(link: socket.socket, orders: Sequence[tuple[int, int, bytes]]) -> None:
    """One transaction. Raises: OSError in the kernel's number."""
    batch = [_message(_BEGIN, 0, socket.AF_UNSPEC, b"", resource=_SUBSYSTEM)]
    for number, (kind, family, body) in enumerate(orders, 1):
        flags = _ACK | _CREATE | (_APPEND if kind == _NEW_RULE else 0)
        batch.append(_message(_SUBSYSTEM << 8 | kind, flags, family, body, number=number))
    batch.append(_message(_END, 0, socket.AF_UNSPEC, b"", resource=_SUBSYSTEM))
    link.send(b"".join(batch))
    waiting = len(orders)
    while waiting:
        data = link.recv(_LONGEST)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", data, at + _HEADER.size)
                if code:
                    raise OSError(-code, os.strerror(-code) or errno.errorcode.get(-code, ""))
                waiting -= 1
            at += (length + 3) & ~3


def _message(kind: int, flags: int, family: int, body: bytes, *, number: int = 0, resource: int = 0) -> bytes:
    data = _GENERIC.pack(family, 0, resource) + body
    return _HEADER.pack(_HEADER.size + len(data), kind, flags | _REQUEST, number, 0) + data


def _string(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">I", value))


def _nest(kind: int, body: bytes) -> bytes:
    return attribute(kind | _NESTED, body)


def _expression(name: str, body: bytes) -> bytes:
    return _nest(1, _string(1, name) + _nest(2, body))


def _meta(key: int, *, into: bool) -> bytes:
    """Into the register, or from it."""
    return _expression("meta", _number(2, key) + _number(1 if into else 3, 1))


def _compare(data: bytes) -> bytes:
    return _expression("cmp", _number(1, 1) + _number(2, 0) + _nest(3, attribute(1, data)))
