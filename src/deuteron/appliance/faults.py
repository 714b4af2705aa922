"""How the appliance refuses: a name with its HTTP status, and what was wrong.

Source: Oracle ZFS Storage Appliance RESTful API Guide, "Errors".
"""

from __future__ import annotations

from typing import Final

STATUS: Final = {
    "ERR_INVALID_ARG": 400,
    "ERR_UNKNOWN_ARG": 400,
    "ERR_MISSING_ARG": 400,
    "ERR_UNAUTHORIZED": 401,
    "ERR_DENIED": 403,
    "ERR_NOT_FOUND": 404,
    "ERR_NOT_ALLOWED": 405,
    "ERR_OBJECT_EXISTS": 409,
    "ERR_STATE_CHANGED": 409,
    "ERR_OVER_LIMIT": 413,
    "ERR_BUSY": 503,
}


class Fault(Exception):
    """A refusal."""

    def __init__(self, name: str, details: str) -> None:
        super().__init__(details)
        self.name = name

    @property
    def status(self) -> int:
        return STATUS[self.name]

    @property
    def body(self) -> dict[str, object]:
        return {"fault": {"message": self.name, "details": str(self), "code": self.status, "name": self.name}}
