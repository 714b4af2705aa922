"""Does KVM really run a guest here? The only honest answer is to run one.

On some machines `/dev/kvm` opens, reports every capability, and a guest hangs, or crawls, because whatever is
below interprets it instruction by instruction. A few instructions pass there, a kernel never boots. So the
probe starts QEMU with a ROM of a few bytes that counts for a while and then writes one value to QEMU's debug
port, and believes only the exit status that this write causes, within the deadline.

Nothing is remembered: the probe takes about 0.2 s where KVM works, and its deadline where it hangs.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

QEMU = "qemu-system-x86_64"

_EXIT_PORT = 0xF4
_ANSWER = 0x2A
_ROUNDS = 200_000_000
_EXIT_STATUS = _ANSWER << 1 | 1
"""QEMU's isa-debug-exit ends the process with (value << 1) | 1. Source: QEMU hw/misc/debugexit.c."""


@dataclass(frozen=True)
class KvmProbe:
    usable: bool
    reason: str
    """A sentence, also when KVM is usable."""


def probe_rom(rounds: int = _ROUNDS) -> bytes:
    """64 KiB of firmware: into protected mode, count down from `rounds`, write the answer, halt.

    The counting is what tells a processor that runs guests from a `/dev/kvm` that interprets them: two hundred
    million rounds are a tenth of a second for the former and minutes for the latter. Protected mode, because
    old processors that run guests well still interpret real mode.
    """
    base = 0xFFFF0000  # where the last 64 KiB below 4 GiB, and so this ROM, are mapped
    start = 0xFF00
    table = 0xFF80
    real_mode = bytes([0xFA])  # cli
    real_mode += b"\x2e\x66\x0f\x01\x16" + struct.pack("<H", table + 16)  # lgdt cs:[table + 16]
    real_mode += b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0"  # cr0 |= 1
    target = start + len(real_mode) + 8
    real_mode += b"\x66\xea" + struct.pack("<IH", base + target, 8)  # jmp 8:target
    protected = b"\xb9" + struct.pack("<I", rounds)  # mov ecx, rounds
    protected += b"\x49\x75\xfd"  # dec ecx; jnz back
    protected += bytes([0xB0, _ANSWER, 0xE6, _EXIT_PORT])  # mov al, answer; out port, al
    protected += b"\xf4\xeb\xfd"  # hlt, for ever
    descriptors = bytes(8) + bytes.fromhex("ffff0000009bcf00")  # none, and all memory as 32-bit code
    rom = bytearray(b"\xf4" * 0x10000)
    rom[start : start + len(real_mode + protected)] = real_mode + protected
    rom[table : table + 22] = descriptors + struct.pack("<HI", 15, base + table)
    rom[0xFFF0:0xFFF3] = b"\xe9" + struct.pack("<h", start - 0xFFF3)  # the reset vector: jmp start
    return bytes(rom)


def probe_kvm(timeout_s: float = 2.0, device: Path = Path("/dev/kvm")) -> KvmProbe:
    """Whether a guest runs with KVM, decided by running one for at most `timeout_s` seconds."""
    if not device.exists():
        return KvmProbe(False, f"there is no {device}")
    if not device.is_char_device() or os.major(device.stat().st_rdev) != 10:
        return KvmProbe(False, f"{device} is not the KVM device")
    if not os.access(device, os.R_OK | os.W_OK):
        return KvmProbe(False, f"{device} may not be opened by this user")
    return _probe("kvm", timeout_s)


def probe_tcg(timeout_s: float = 10.0) -> KvmProbe:
    """Whether QEMU's software emulation works: the same guest with the same deadline rule."""
    return _probe("tcg", timeout_s, rounds=1000)


def _probe(accelerator: str, timeout_s: float, rounds: int = _ROUNDS) -> KvmProbe:
    with tempfile.TemporaryDirectory(prefix="deuteron-probe-") as folder:
        rom = Path(folder) / "rom"
        rom.write_bytes(probe_rom(rounds))
        command = [QEMU, "-accel", accelerator, "-nodefaults", "-no-user-config", "-display", "none", "-m", "16"]
        command += ["-bios", str(rom), "-device", f"isa-debug-exit,iobase={_EXIT_PORT:#x},iosize=1"]
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except FileNotFoundError:
            return KvmProbe(False, f"there is no {QEMU}")
        try:
            _, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return KvmProbe(False, f"a guest with {accelerator} hung or crawled: no answer in {timeout_s:.1f} s")
        if process.returncode == _EXIT_STATUS:
            return KvmProbe(True, f"a guest with {accelerator} answered in {time.monotonic() - started:.2f} s")
        words = errors.strip().splitlines()
        return KvmProbe(False, f"a guest with {accelerator} failed: {words[-1] if words else process.returncode}")
