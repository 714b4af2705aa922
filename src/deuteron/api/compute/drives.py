"""Files that bodies put on a server's config drive: `personality`, which microversions before 2.57 take."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from deuteron.api.call import Call
from deuteron.api.compute.bodies import Body
from deuteron.model.codecs import quoted
from deuteron.model.compute import File
from deuteron.rules.compute.faults import invalid

LAST_WITH_FILES: Final = 56
"""The last microversion that takes `personality`."""
MAX_FILES: Final = 100
"""Files of one body, whatever the quota: what is looked at before it."""


def files_of(call: Call, body: Body) -> tuple[File, ...]:
    """The files that a create or rebuild body gives. Raises: BadRequest."""
    if call.version > LAST_WITH_FILES:
        return ()
    found: list[File] = []
    for item in body.objects("personality", MAX_FILES):
        item.only((), ("path", "contents"))
        path, contents = item.raw["path"], item.raw["contents"]
        if not isinstance(path, str):
            raise invalid(f"{item.path}.path", path, f"{quoted(path)} is not of type 'string'")
        if not isinstance(contents, str):
            raise invalid(f"{item.path}.contents", contents, f"{quoted(contents)} is not of type 'string'")
        try:
            base64.b64decode(contents)
        except (binascii.Error, ValueError):
            raise invalid(f"{item.path}.contents", contents[:80], f"'{contents[:80]}' is not a 'base64'") from None
        found.append(File(path, contents))
    return tuple(found)
