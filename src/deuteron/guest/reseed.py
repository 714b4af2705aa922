"""The program `reseed` of the tiny guest: new random numbers for a kernel that woke up in another machine.

A kernel whose memory was copied draws the same numbers in each copy. Newer kernels hear of it from the machine
(VMGENID); Debian's cloud kernel has no driver for that, and what is written to /dev/urandom counts when the kernel next
draws from its pool, which may be a minute later. The two calls that do it at once have no program in busybox, and there
is no compiler where the guest is made; so here are the instructions.

It reads 512 bytes of /dev/hwrng, which the host draws for this machine alone, adds them to the kernel's pool, and has
the kernel draw from the pool anew. It ends with 0 when all of that was done, else with 1. The first 64 or 128 bytes may
be older than the copy, since drivers ask ahead; half of all is counted as random.

Source: Linux drivers/char/random.c `random_ioctl`, drivers/char/hw_random/virtio-rng.c; random(4); x86-64 System V ABI.
"""

from __future__ import annotations

import struct
from typing import Final

_CODE: Final = (
    "4881ec08020000",         # sub rsp,0x208               struct rand_pool_info: bits, bytes, and the bytes
    "c7042400080000",         # mov dword [rsp],0x800
    "c744240400020000",       # mov dword [rsp+0x4],0x200
    "488d3d70000000",         # lea rdi,[rip+0x70]          open("/dev/hwrng", O_RDONLY)
    "31f6",                   # xor esi,esi
    "b802000000",             # mov eax,0x2
    "0f05",                   # syscall
    "85c0",                   # test eax,eax
    "7857",                   # js 81 <fail>
    "89c7",                   # mov edi,eax
    "488d742408",             # lea rsi,[rsp+0x8]           read(fd, rsp+8, 512)
    "ba00020000",             # mov edx,0x200
    "31c0",                   # xor eax,eax
    "0f05",                   # syscall
    "3d00020000",             # cmp eax,0x200
    "7540",                   # jne 81 <fail>
    "488d3d50000000",         # lea rdi,[rip+0x50]          open("/dev/urandom", O_WRONLY)
    "be01000000",             # mov esi,0x1
    "b802000000",             # mov eax,0x2
    "0f05",                   # syscall
    "85c0",                   # test eax,eax
    "7829",                   # js 81 <fail>
    "89c7",                   # mov edi,eax
    "be03520840",             # mov esi,0x40085203          ioctl(fd, RNDADDENTROPY, rsp)
    "4889e2",                 # mov rdx,rsp
    "b810000000",             # mov eax,0x10
    "0f05",                   # syscall
    "85c0",                   # test eax,eax
    "7514",                   # jne 81 <fail>
    "be07520000",             # mov esi,0x5207              ioctl(fd, RNDRESEEDCRNG)
    "b810000000",             # mov eax,0x10
    "0f05",                   # syscall
    "85c0",                   # test eax,eax
    "7504",                   # jne 81 <fail>
    "31ff",                   # xor edi,edi
    "eb05",                   # jmp 86 <exit>
    "bf01000000",             # mov edi,0x1                 fail:
    "b83c000000",             # mov eax,0x3c                exit(edi)
    "0f05",                   # syscall
    # the two names follow
)  # fmt: skip
_NAMES: Final = b"/dev/hwrng\0/dev/urandom\0"

_BASE: Final = 0x400000
_ELF_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")


def program() -> bytes:
    """An executable file for Linux on x86-64: one segment, which holds the headers, too."""
    content = bytes.fromhex("".join(_CODE)) + _NAMES
    headers = _ELF_HEADER.size + _PROGRAM_HEADER.size
    size = headers + len(content)
    # ELF64, little-endian, ET_EXEC, EM_X86_64; one PT_LOAD that is read and run.
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    elf = _ELF_HEADER.pack(
        ident, 2, 62, 1, _BASE + headers, _ELF_HEADER.size, 0, 0, _ELF_HEADER.size, _PROGRAM_HEADER.size, 1, 0, 0, 0
    )
    return elf + _PROGRAM_HEADER.pack(1, 5, 0, _BASE, _BASE, size, size, 0x1000) + content
