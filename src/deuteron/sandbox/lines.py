"""Where a topology says what is refused: the line of its file, for messages."""

from __future__ import annotations

import re


def line_about(text: str, message: str) -> str:
    """Which line of the file the message is about, by what it quotes of it; "" when no line says that.

    Of lines about back ends for volumes, which may hold secrets, it shows the keys alone.
    """
    path = re.search(r"\$\.([\w.]+)", message)
    backend = re.search(r"\[volume\.backends\.([^\]]+)\]|back end \"([^\"]+)\"", message)
    if backend is not None:
        return line_of_backend(text, backend[1] or backend[2], message)
    quoted = re.findall(r"[\"'`]([^\"'`]+)[\"'`]", message)
    for word in (*reversed(quoted), *(reversed(path[1].split(".")) if path else ())):
        is_secret = False
        for number, line in enumerate(text.splitlines(), 1):
            if line.lstrip().startswith("["):
                is_secret = line.lstrip("[ \t").startswith("volume")
            said = line.partition("=")[0] if is_secret or line.lstrip().startswith("volume") else line.partition("#")[0]
            if re.search(rf"(?<!\w){re.escape(word)}(?![\w.])", said):
                if said != line.partition("#")[0]:
                    return f" (line {number}: {said.strip()} = …)"
                return f" (line {number}: {line.strip()})"
    return ""


def line_of_backend(text: str, backend: str, message: str) -> str:
    """Where the text says of a back end what the message is about, or that there is one.

    Without its value, which may be secret. "" when no line says that.
    """
    named = re.search(r"field `(\w+)`|\$\.(\w+)|(driver|volume_backend_name|host)s? \"", message)
    key = None if named is None else next(each for each in named.groups() if each)
    key = "hosts" if key == "host" else key
    header = re.compile(rf"\s*\[\s*volume\s*\.\s*backends\s*\.\s*[\"']?{re.escape(backend)}[\"']?\s*\]")
    found, is_inside = "", False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            is_inside = header.match(line) is not None
            if is_inside and not found:
                found = f" (line {number}: [volume.backends.{backend}])"
        elif is_inside and key is not None and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return f" (line {number}: {key} = …)"
    return found
