"""Filters of tcpdump: the classic BPF program that `tcpdump -ddd` prints, run on bytes.

A filter is to be asked about the packet inside a tunnel as well as about the frame on the wire, so no kernel runs it.

Source: bpf(4) of FreeBSD; S. McCanne, V. Jacobson, `The BSD Packet Filter`, 1993; linux bpf_common.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_WORD = 0xFFFFFFFF
_SCRATCH = 16
_LONGEST = 4096
"""Instructions that the kernel takes (BPF_MAXINSNS)."""


class Instruction(NamedTuple):
    code: int
    if_true: int
    if_false: int
    value: int


class NotAProgram(ValueError):
    """Text that is no output of `tcpdump -ddd`."""


def program(text: str) -> tuple[Instruction, ...]:
    """The program in the text: a line with the number of instructions, then one line of four numbers for each."""
    try:
        lines = [[int(word) for word in line.split()] for line in text.splitlines() if line.strip()]
        found = tuple(Instruction(*words) for words in lines[1:])
    except (TypeError, ValueError) as error:
        raise NotAProgram("not four numbers on each line") from error
    if not lines or lines[0] != [len(found)] or not 0 < len(found) <= _LONGEST:
        raise NotAProgram("not as many lines as it says")
    return found


def matches(instructions: Sequence[Instruction], frame: bytes) -> bool:
    """Whether the filter takes a frame. One that looks behind its end does not match."""
    a = x = at = 0
    scratch = [0] * _SCRATCH
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        kind = code & 7
        if kind in (0, 1):  # load into the accumulator, the index
            loaded = _load(code, value, x, scratch, frame)
            if loaded is None:
                return False
            a, x = (loaded, x) if kind == 0 else (a, loaded)
        elif kind in (2, 3):
            scratch[value] = a if kind == 2 else x
        elif kind == 4:
            result = _reckon(code & 0xF0, a, x if code & 8 else value)
            if result is None:
                return False
            a = result
        elif kind == 5:
            operand = x if code & 8 else value
            sort = code & 0xF0
            if sort == 0:
                at += value
            else:
                holds = {0x10: a == operand, 0x20: a > operand, 0x30: a >= operand, 0x40: bool(a & operand)}[sort]
                at += if_true if holds else if_false
        elif kind == 6:
            return (a if code & 0x18 == 0x10 else value) != 0
        elif code & 0xF8 == 0:
            x = a
        else:
            a = x


def _load(code: int, value: int, x: int, scratch: Sequence[int], frame: bytes) -> int | None:
    mode, length = code & 0xE0, {0: 4, 8: 2, 0x10: 1}[code & 0x18]
    if mode == 0:
        return value
    if mode == 0x60:
        return scratch[value]
    if mode == 0x80:
        return len(frame)
    if mode == 0xA0:  # four times the low half of a byte: the length of an IP header
        return (frame[value] & 15) * 4 if value < len(frame) else None
    start = value + (x if mode == 0x40 else 0) & _WORD
    return int.from_bytes(frame[start : start + length], "big") if start + length <= len(frame) else None


def _reckon(sort: int, a: int, operand: int) -> int | None:
    if sort in (0x30, 0x90):
        if operand == 0:
            return None
        return a // operand if sort == 0x30 else a % operand
    if sort in (0x60, 0x70):
        shifted = 0 if operand > 31 else a << operand if sort == 0x60 else a >> operand
        return shifted & _WORD
    return {
        0x00: a + operand, 0x10: a - operand, 0x20: a * operand, 0x40: a | operand, 0x50: a & operand, 0x80: -a,
        0xA0: a ^ operand,
    }[sort] & _WORD  # fmt: skip
