"""Config drives: whether a server has one, and what is on it that a user gave.

Files of `personality`, which microversions before 2.57 take, and the administrator's password reach the guest on its
config drive and nowhere else. So a server that is given files gets a drive, as one does whose image demands it. What
was given is kept until the drive is made, which is when the server's task ends (`reports.apply_report`).

Source: nova/virt/configdrive.py `required_by`, `update_instance`; nova/compute/api.py `_check_injected_file_quota`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from deuteron.model.compute import File, Injected
from deuteron.model.errors import Forbidden
from deuteron.rules.compute import quotas
from deuteron.store.database import Tx


def check_files(tx: Tx, project_id: str, user_id: str, files: Sequence[File]) -> None:
    """Whether a server may be given these files, by that user. Raises: Forbidden."""
    sizes = {
        "injected_files": len(files),
        "injected_file_path_bytes": max((len(file.path) for file in files), default=0),
        "injected_file_content_bytes": max((len(file.contents) for file in files), default=0),
    }
    for name, size in sizes.items():
        hard = quotas.limit(tx, project_id, name, user_id)
        if 0 <= hard < size:
            words = "Personality file limit exceeded"
            if name != "injected_files":
                words = f"Personality file {name.split('_')[2]} exceeds maximum {hard}"
            raise Forbidden(words, type="OnsetFileLimitExceeded")


def columns(asked: bool, demanded: bool, files: Sequence[File], password: str) -> dict[str, Any]:
    """Columns of a server that is `asked` to have a drive, or whose image `demanded` one."""
    if not (asked or demanded or files):
        return {"config_drive": False, "injected": None}
    return {"config_drive": True, "injected": msgspec.to_builtins(Injected(tuple(files), password))}
