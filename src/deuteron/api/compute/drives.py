"""Config drives as requests ask for them: whether a server has one, and what is on it that a user gave.

Files of `personality`, which microversions before 2.57 take, and the administrator's password reach the guest on its
config drive and nowhere else. So a server that is given files gets a drive, as one does whose image demands it. What
was given is kept until the drive is made, which is when the server's task ends (`lifecycle.apply_report`).

Source: nova/virt/configdrive.py `required_by`, `update_instance`; nova/compute/api.py `_check_injected_file_quota`.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

from deuteron.api.call import Call
from deuteron.api.compute.bodies import Body
from deuteron.model.codecs import quoted
from deuteron.model.compute import File, Injected
from deuteron.model.errors import Forbidden
from deuteron.rules.compute import quotas
from deuteron.rules.compute.faults import invalid
from deuteron.store.database import Tx

LAST_WITH_FILES: Final = 56
"""The last microversion that takes `personality`."""
MAX_FILES: Final = 100
"""Files of one body, whatever the quota: what is looked at before it."""


def files_of(call: Call, tx: Tx, body: Body, project_id: str) -> tuple[File, ...]:
    """The files that a create or rebuild body gives, within the quotas. Raises: BadRequest, Forbidden."""
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
    sizes = {
        "injected_files": len(found),
        "injected_file_path_bytes": max((len(file.path) for file in found), default=0),
        "injected_file_content_bytes": max((len(file.contents) for file in found), default=0),
    }
    for name, size in sizes.items():
        hard = quotas.limit(tx, project_id, name)
        if 0 <= hard < size:
            words = "Personality file limit exceeded"
            if name != "injected_files":
                words = f"Personality file {name.split('_')[2]} exceeds maximum {hard}"
            raise Forbidden(words, type="OnsetFileLimitExceeded")
    return tuple(found)


def columns(asked: bool, demanded: bool, files: tuple[File, ...], password: str) -> dict[str, Any]:
    """Columns of a server that is `asked` to have a drive, or whose image `demanded` one."""
    if not (asked or demanded or files):
        return {"config_drive": False, "injected": None}
    return {"config_drive": True, "injected": msgspec.to_builtins(Injected(files, password))}
