"""iSCSI: an initiator's connection, from its log in to its end.

Data of a write come with the command as far as they fit, the rest when the target asks for them (R2T). One connection
a session, error recovery level 0.

Source: RFC 7143; the numbers of sections stand with each function.
"""

from __future__ import annotations

import socket
import struct
import threading
from typing import Final

import msgspec
import structlog

from . import scsi
from .disks import Disk
from .document import Lun, Target
from .login import LogIn
from .pdus import MOST_SEGMENT, NO_TAG, Broken, Pdu, Wire, pairs_of, text_of
from .san import San
from .scsi import Sense

log = structlog.get_logger("deuteron.appliance")

_IDLE_S: Final = 3600.0
_LOGIN_S: Final = 15.0


class Write(msgspec.Struct):
    """A command that waits for data."""

    pdu: Pdu
    number: int
    cdb: bytes
    data: bytearray
    wanted: int
    asked: int = 0
    """How far data have been asked for."""
    r2t: int = 0


class Portal:
    """Listens for initiators; each connection has a thread."""

    def __init__(self, address: tuple[str, int], san: San) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family, backlog=64)
        self.address = self._listener.getsockname()
        self._san = san

    def serve_forever(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        session = Session(connection, self._san)
        try:
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                session.run()
        except (Broken, OSError) as error:
            log.info("connection of iSCSI ended", initiator=session.initiator, reason=str(error))
        finally:
            self._san.leave(session)


class Session:
    """One connection. `initiator` and `target` are known once it has logged in."""

    def __init__(self, connection: socket.socket, san: San) -> None:
        self.initiator = ""
        self._connection = connection
        self._san = san
        self._target: Target | None = None
        self._wire = Wire(connection)
        self._most_sent = 8192
        self._burst = MOST_SEGMENT
        self._writes: dict[int, Write] = {}
        self._next_transfer = 1

    def run(self) -> None:
        """Until the initiator leaves. Raises: Broken; OSError."""
        self._connection.settimeout(_LOGIN_S)
        agreed = LogIn(self._wire, self._san).run()
        if agreed is None:
            return
        self.initiator, self._target = agreed.initiator, agreed.target
        self._most_sent, self._burst = agreed.most_sent, agreed.burst
        self._connection.settimeout(_IDLE_S)
        while True:
            pdu = self._wire.receive()
            if pdu.opcode == 0x06:
                self._reply(pdu, 0x26, bytes(4), b"", answer=0)
                return
            self._handle(pdu)

    def _reply(self, pdu: Pdu, opcode: int, tail: bytes, data: bytes, *, answer: int, lun: bytes = bytes(8)) -> None:
        header = struct.pack(">BBBB4x8sI4s", opcode, 0x80, answer, 0, lun, pdu.tag, tail) + self._wire.numbers()
        self._wire.send(header.ljust(48, b"\0"), data)

    # --- full feature phase -------------------------------------------------------------------------------------------

    def _handle(self, pdu: Pdu) -> None:
        if pdu.opcode == 0x05:
            self._data_out(pdu)
            return
        if not pdu.header[0] & 0x40 and not (pdu.opcode == 0x00 and pdu.tag == NO_TAG):
            number = int.from_bytes(pdu.header[24:28], "big")
            if number != self._wire.expected:
                return  # Section 4.2.2.1: a command out of its window is not heard.
            self._wire.expected = (self._wire.expected + 1) & 0xFFFFFFFF
        if pdu.opcode == 0x01:
            self._command(pdu)
        elif pdu.opcode == 0x00:
            if pdu.tag != NO_TAG:
                self._reply(pdu, 0x20, b"\xff\xff\xff\xff", pdu.data, answer=0, lun=pdu.header[8:16])
        elif pdu.opcode == 0x02:
            self._task(pdu)
        elif pdu.opcode == 0x04:
            self._text(pdu)
        else:
            header = struct.pack(">BBB5x8xI4x", 0x3F, 0x80, 0x05, NO_TAG) + self._wire.numbers()
            self._wire.send(header.ljust(48, b"\0"), pdu.header)

    def _task(self, pdu: Pdu) -> None:
        """Task management, section 11.5. Commands are carried out as they come: only writes can be under way."""
        function = pdu.header[1] & 0x7F
        if function == 1:
            self._writes.pop(int.from_bytes(pdu.header[20:24], "big"), None)
        elif function in (2, 3, 5, 6, 7):
            self._writes.clear()
        self._reply(pdu, 0x22, bytes(4), b"", answer=0 if function in (1, 2, 3, 5, 6, 7) else 5)

    def _text(self, pdu: Pdu) -> None:
        asked = pairs_of(pdu.data)
        answer: list[tuple[str, str]] = []
        if "SendTargets" in asked:
            here = self._connection.getsockname()
            host = f"[{here[0]}]" if ":" in here[0] else here[0]
            for iqn in self._san.offered():
                if asked["SendTargets"] in ("All", iqn) or (self._target and not asked["SendTargets"]):
                    answer += [("TargetName", iqn), ("TargetAddress", f"{host}:{here[1]},1")]
        self._reply(pdu, 0x24, b"\xff\xff\xff\xff", text_of(answer), answer=0)

    def _unit(self, pdu: Pdu) -> tuple[int, dict[int, tuple[Lun, Disk]]]:
        if self._target is None:
            raise Sense(0x05, 0x25)
        field = int.from_bytes(pdu.header[8:10], "big")
        number = field & 0x3FFF if field >> 14 in (0, 1) else -1
        return number, self._san.visible(self._target.iqn, self.initiator)

    def _command(self, pdu: Pdu) -> None:
        cdb = pdu.header[32:48]
        try:
            wanted = scsi.bytes_wanted(cdb)
            expected = int.from_bytes(pdu.header[20:24], "big")
            number, _ = self._unit(pdu)
        except Sense as sense:
            self._status(pdu, sense)
            return
        wanted = min(wanted, expected) if pdu.header[1] & 0x20 else 0
        write = Write(pdu, number, cdb, bytearray(pdu.data[:wanted]), wanted)
        write.asked = len(write.data)
        if len(write.data) < wanted:
            self._writes[pdu.tag] = write
            self._ask(write)
        else:
            self._carry_out(write)

    def _ask(self, write: Write) -> None:
        """R2T, section 11.8; one at a time for each command."""
        length = min(self._burst, write.wanted - write.asked)
        transfer = self._next_transfer
        self._next_transfer = transfer % 0xFFFFFF00 + 1
        header = struct.pack(">BB6x8sII", 0x31, 0x80, write.pdu.header[8:16], write.pdu.tag, transfer)
        header += self._wire.numbers(counts=False) + struct.pack(">III", write.r2t, write.asked, length)
        write.r2t += 1
        write.asked += length
        self._wire.send(header)

    def _data_out(self, pdu: Pdu) -> None:
        write = self._writes.get(pdu.tag)
        if write is None:
            return
        offset = int.from_bytes(pdu.header[40:44], "big")
        if offset != len(write.data) or offset + len(pdu.data) > write.asked:
            del self._writes[pdu.tag]
            raise Broken("data that nobody asked for")
        write.data += pdu.data
        if len(write.data) == write.wanted:
            del self._writes[pdu.tag]
            self._carry_out(write)
        elif len(write.data) == write.asked:
            self._ask(write)

    def _carry_out(self, write: Write) -> None:
        cdb = write.cdb
        try:
            number, visible = self._unit(write.pdu)
            if cdb[0] == 0xA0:
                answer = scsi.report_luns(cdb, list(visible))
            elif number not in visible:
                if cdb[0] != 0x12:
                    raise scsi.no_unit()
                answer = scsi.inquire_nothing(cdb)
            else:
                lun, disk = visible[number]
                if cdb[0] not in (0x00, 0x12):
                    self._san.use(disk, self)
                answer = scsi.execute(cdb, write.data, lun, disk)
        except Sense as sense:
            self._status(write.pdu, sense)
            return
        self._answer(write.pdu, answer)

    def _answer(self, pdu: Pdu, data: bytes) -> None:
        """Data-In with the status in its last PDU (section 11.7), or the status alone."""
        expected = int.from_bytes(pdu.header[20:24], "big")
        if not pdu.header[1] & 0x40:
            moved = min(expected, scsi.bytes_wanted(pdu.header[32:48])) if pdu.header[1] & 0x20 else 0
            self._status(pdu, None, residual=expected - moved)
            return
        residual = expected - len(data)
        if residual < 0:
            data = data[:expected]
        if not data:
            self._status(pdu, None, residual=residual)
            return
        view = memoryview(data)
        at = burst = 0
        sequence = 0
        while at < len(view):
            length = min(self._most_sent, len(view) - at, self._burst - burst)
            burst += length
            is_last = at + length == len(view)
            ends = is_last or burst == self._burst
            flags = 0x80 if ends else 0
            left = 0
            if is_last:
                flags |= 0x01
                if residual:
                    flags |= 0x02 if residual > 0 else 0x04
                    left = abs(residual)
            header = struct.pack(">BBBB4x8sII", 0x25, flags, 0, 0, pdu.header[8:16], pdu.tag, NO_TAG)
            header += self._wire.numbers(counts=is_last) if is_last else bytes(4) + self._wire.numbers(counts=False)[4:]
            header += struct.pack(">III", sequence, at, left)
            self._wire.send(header, view[at : at + length])
            sequence += 1
            at += length
            if burst == self._burst:
                burst = 0

    def _status(self, pdu: Pdu, sense: Sense | None, residual: int = 0) -> None:
        """SCSI Response, section 11.4."""
        flags = 0x80
        if residual:
            flags |= 0x02 if residual > 0 else 0x04
        data = b"" if sense is None else len(sense.data).to_bytes(2, "big") + sense.data
        header = struct.pack(">BBBB4x8xI4x", 0x21, flags, 0, 0 if sense is None else 2, pdu.tag)
        header += self._wire.numbers() + struct.pack(">III", 0, 0, abs(residual))
        self._wire.send(header, data)
