"""Which shared libraries a program needs: the DT_NEEDED entries of a 64-bit little-endian ELF file.

`ldd` would run the program and answers for the host's libraries; `readelf` is not on every machine. The
guest needs the answer for files that were just unpacked from packages.

Source: System V ABI, "Dynamic Section"; elf(5).
"""

from __future__ import annotations

import struct

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5


class NotElf(ValueError):
    """The bytes are not a 64-bit little-endian ELF file."""


def needed_libraries(data: bytes) -> tuple[str, ...]:
    """Names of the libraries in the order the file lists them; empty for a static program.

    Raises: NotElf if the bytes are something else.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise NotElf("not a 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", data, table + index * size) for index in range(count)]
    dynamic = next((segment for segment in segments if segment[0] == _PT_DYNAMIC), None)
    if dynamic is None:
        return ()
    needed: list[int] = []
    strings = 0
    for offset in range(dynamic[2], dynamic[2] + dynamic[5], 16):
        tag, value = struct.unpack_from("<QQ", data, offset)
        if tag == _DT_NULL:
            break
        if tag == _DT_NEEDED:
            needed.append(value)
        elif tag == _DT_STRTAB:
            strings = value
    # The string table is named by its address in memory; find it in the file through the segment that holds it.
    for kind, _flags, file_offset, address, _physical, file_size, _memory_size, _align in segments:
        if kind == _PT_LOAD and address <= strings < address + file_size:
            start = file_offset + strings - address
            return tuple(data[start + name : data.index(b"\0", start + name)].decode() for name in needed)
    return ()
