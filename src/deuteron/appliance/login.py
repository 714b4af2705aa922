"""The log in of an initiator: CHAP where the target asks for it, then what holds for the session.

Source: RFC 7143, sections 6, 12 and 13; RFC 1994.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from typing import Final

import msgspec
import structlog

from .document import Target
from .pdus import MOST_SEGMENT, Broken, Pdu, Wire, pairs_of, text_of
from .san import San

log = structlog.get_logger("deuteron.appliance")

_MOST_TEXT: Final = 65536


class Refused(Exception):
    """A log in that is refused: class and detail of the status, section 11.13.5."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Agreed(msgspec.Struct, frozen=True):
    """What initiator and target agreed on; `target` None for a session that only discovers."""

    initiator: str
    target: Target | None
    most_sent: int
    burst: int


class LogIn:
    """The log in phase, section 6: security first, where the target asks for it, then parameters."""

    def __init__(self, wire: Wire, san: San) -> None:
        self._wire = wire
        self._san = san
        self._initiator = ""
        self._target: Target | None = None
        self._is_discovery = False
        self._is_proven = False
        self._challenge = b""
        self._challenge_id = 0
        self._most_sent, self._burst = 8192, MOST_SEGMENT
        self._handle = secrets.randbelow(65535) + 1

    def run(self) -> Agreed | None:
        """What holds for the session; None for who was refused. Raises: Broken; OSError."""
        text = b""
        is_first = True
        while True:
            pdu = self._wire.receive()
            if pdu.opcode != 0x03:
                raise Broken("a log in was expected")
            if is_first:
                self._wire.expected = int.from_bytes(pdu.header[24:28], "big")
                is_first = False
            text += pdu.data
            if len(text) > _MOST_TEXT:
                raise Broken("the log in is too long")
            if pdu.header[1] & 0x40:
                self._send(pdu, [], stage=pdu.header[1] >> 2 & 3, ends=False)
                continue
            asked, text = pairs_of(text), b""
            stage, following, ends = pdu.header[1] >> 2 & 3, pdu.header[1] & 3, bool(pdu.header[1] & 0x80)
            try:
                self._introduce(asked)
                if stage == 0:
                    answer, ends = self._security(asked, ends)
                elif stage == 1:
                    self._refuse_unproven()
                    answer = self._parameters(asked)
                else:
                    raise Refused(0x020B, "no such stage")
                if ends and following == 3:
                    self._refuse_unproven()
            except Refused as refused:
                log.warning("initiator refused", initiator=self._initiator, reason=str(refused))
                self._send(pdu, [], stage=stage, ends=False, status=refused.status)
                return None
            self._send(pdu, answer, stage=stage, ends=ends, following=following)
            if ends and following == 3:
                return Agreed(self._initiator, self._target, self._most_sent, self._burst)

    def _introduce(self, asked: dict[str, str]) -> None:
        if self._initiator:
            return
        self._initiator = asked.get("InitiatorName", "")
        if not self._initiator:
            raise Refused(0x0207, "an initiator without a name")
        self._is_discovery = asked.get("SessionType") == "Discovery"
        if self._is_discovery:
            return
        self._target = self._san.find_target(asked.get("TargetName", ""))
        if self._target is None:
            raise Refused(0x0203, f"there is no target {asked.get('TargetName')}")

    def _asks_proof(self) -> bool:
        return self._target is not None and self._target.auth == "chap"

    def _refuse_unproven(self) -> None:
        if self._asks_proof() and not self._is_proven:
            raise Refused(0x0201, "the target asks for CHAP")

    def _security(self, asked: dict[str, str], ends: bool) -> tuple[list[tuple[str, str]], bool]:
        """Section 12.1.3 and RFC 1994: CHAP with MD5, of the initiator and, where it asks, of the target."""
        if "CHAP_N" in asked:
            return self._prove(asked), ends
        if "CHAP_A" in asked:
            if "5" not in asked["CHAP_A"].split(","):
                raise Refused(0x0201, "CHAP with MD5 is what the target knows")
            self._challenge, self._challenge_id = secrets.token_bytes(16), secrets.randbelow(256)
            challenge = f"0x{self._challenge.hex()}"
            return [("CHAP_A", "5"), ("CHAP_I", str(self._challenge_id)), ("CHAP_C", challenge)], False
        answer: list[tuple[str, str]] = []
        if self._target is not None:
            answer.append(("TargetPortalGroupTag", "1"))
        if "AuthMethod" in asked:
            offered = asked["AuthMethod"].split(",")
            method = "CHAP" if self._asks_proof() else "None"
            if method not in offered:
                raise Refused(0x0201, f"the target takes AuthMethod={method}")
            answer.append(("AuthMethod", method))
        return answer, ends and not self._asks_proof()

    def _prove(self, asked: dict[str, str]) -> list[tuple[str, str]]:
        known = self._san.find_initiator(self._initiator)
        given = _binary(asked.get("CHAP_R", ""))
        if known is None or not known.chapsecret or not self._challenge:
            raise Refused(0x0201, "the initiator has no secret here")
        right = _response(self._challenge_id, known.chapsecret, self._challenge)
        if not hmac.compare_digest(right, given) or asked["CHAP_N"] != known.chapuser:
            raise Refused(0x0201, "wrong user or secret")
        self._challenge, self._is_proven = b"", True
        if "CHAP_C" not in asked:
            return []
        assert self._target is not None
        if not self._target.targetchapsecret:
            raise Refused(0x0201, "the target has no secret to prove itself with")
        number, challenge = asked.get("CHAP_I", "0"), _binary(asked["CHAP_C"])
        if not number.isascii() or not number.isdigit() or int(number) > 255 or challenge == given:
            raise Refused(0x0201, "the challenge of the initiator cannot be answered")
        proof = _response(int(number), self._target.targetchapsecret, challenge)
        return [("CHAP_N", self._target.targetchapuser), ("CHAP_R", f"0x{proof.hex()}")]

    def _parameters(self, asked: dict[str, str]) -> list[tuple[str, str]]:
        """Section 13. What is declared is noted, what is negotiated is answered."""
        self._most_sent = min(_number(asked, "MaxRecvDataSegmentLength", self._most_sent), 1 << 20)
        self._burst = min(_number(asked, "MaxBurstLength", self._burst), MOST_SEGMENT)
        fixed = {
            "HeaderDigest": "None",
            "DataDigest": "None",
            "InitialR2T": "Yes",
            "ImmediateData": "Yes" if asked.get("ImmediateData") == "Yes" else "No",
            "MaxBurstLength": str(self._burst),
            "FirstBurstLength": str(min(_number(asked, "FirstBurstLength", 65536), self._burst)),
            "MaxConnections": "1",
            "MaxOutstandingR2T": "1",
            "ErrorRecoveryLevel": "0",
            "DataPDUInOrder": "Yes",
            "DataSequenceInOrder": "Yes",
            "DefaultTime2Wait": str(_number(asked, "DefaultTime2Wait", 2, least=0)),
            "DefaultTime2Retain": "0",
            "IFMarker": "No",
            "OFMarker": "No",
        }
        declared = {
            "MaxRecvDataSegmentLength", "InitiatorName", "InitiatorAlias", "TargetName", "SessionType", "TargetAlias",
        }  # fmt: skip
        for key in ("HeaderDigest", "DataDigest"):
            if key in asked and "None" not in asked[key].split(","):
                raise Refused(0x0200, f"{key}={asked[key]} is not done")
        answer = [(key, fixed[key]) for key in asked if key in fixed]
        answer += [(key, "NotUnderstood") for key in asked if key not in fixed and key not in declared]
        if self._is_discovery:
            answer = [pair for pair in answer if pair[0] not in ("MaxConnections", "InitialR2T", "ImmediateData")]
        return [*answer, ("MaxRecvDataSegmentLength", str(MOST_SEGMENT))]

    def _send(
        self,
        pdu: Pdu,
        answer: list[tuple[str, str]],
        *,
        stage: int,
        ends: bool,
        following: int = 0,
        status: int = 0,
    ) -> None:
        """Login Response, section 11.13."""
        flags = stage << 2 | (0x80 | following if ends else 0)
        header = struct.pack(">BBBB4x6sHI4x", 0x23, flags, 0, 0, pdu.header[8:14], self._handle, pdu.tag)
        header += self._wire.numbers() + struct.pack(">H10x", status)
        self._wire.send(header, text_of(answer))


def _response(number: int, secret: str, challenge: bytes) -> bytes:
    return hashlib.md5(bytes((number,)) + secret.encode() + challenge, usedforsecurity=False).digest()


def _number(asked: dict[str, str], key: str, default: int, least: int = 512) -> int:
    value = asked.get(key, "")
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or not least <= int(value[:10]) <= 0xFFFFFF:
        raise Refused(0x0200, f"{key}={value} is out of range")
    return int(value)


def _binary(value: str) -> bytes:
    try:
        if value[:2] in ("0x", "0X"):
            return bytes.fromhex(value[2:])
    except ValueError:
        pass
    raise Refused(0x0201, "a binary value that cannot be read")
