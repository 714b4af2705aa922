"""The port of viewers in an operator's file: two clouds of one machine cannot both have it.

What else an operator wrote there, and how, stays as it is: the number is exchanged in the text, and nothing is done
unless the file then says the same but for that. Source: TOML 1.0.0.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import msgspec

from deuteron.model.settings import Operator, VncOptions

from .claims import free_port
from .cloud import write_private
from .errors import StateError

NAME: Final = "operator.toml"
"""As `api.settings` has it."""
_NUMBER: Final = re.compile(r"(\bport[\"']?[ \t]*=[ \t]*)([+]?[0-9][0-9A-Fa-fxob_]*)")
_FIRST: Final = 1024


def take_another_port(folder: Path) -> int | None:
    """Let the file in `folder` say a port that nobody listens on, after the one that it says; that port.

    None where it says none, or cannot be used: the API will say so.
    Raises: StateError where no port is free, or the number is written in a way that is not known here.
    """
    path = folder / NAME
    if not path.is_file() or path.is_symlink():
        return None
    try:
        text = path.read_text()
        operator = msgspec.toml.decode(text, type=Operator)
    except (UnicodeDecodeError, msgspec.DecodeError):
        return None
    if operator.vnc.port is None:
        return None
    first = max(operator.vnc.port + 1, _FIRST)
    port = free_port(first, min(first + 999, 65535), operator.vnc.host)
    changed = with_port(text, port)
    if changed is None:
        raise StateError(f"cannot find the number of [vnc] port in {path}", "write it in decimals, as port = 5900")
    status = path.stat()
    write_private(path, changed.encode())
    path.chmod(status.st_mode & 0o777)
    if (path.stat().st_uid, path.stat().st_gid) != (status.st_uid, status.st_gid):
        os.chown(path, status.st_uid, status.st_gid)
    return port


def with_port(text: str, port: int) -> str | None:
    """An operator's file that says this port of viewers, and else the same; None where its number is not found."""
    wanted = _with_port(msgspec.toml.decode(text, type=Operator), port)
    for found in _NUMBER.finditer(text):
        changed = text[: found.start(2)] + str(port) + text[found.end(2) :]
        try:
            if msgspec.toml.decode(changed, type=Operator) == wanted:
                return changed
        except msgspec.DecodeError:
            continue
    return None


def _with_port(operator: Operator, port: int) -> Operator:
    vnc: VncOptions = msgspec.structs.replace(operator.vnc, port=port)
    return msgspec.structs.replace(operator, vnc=vnc)
