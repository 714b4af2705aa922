"""What the simulator does not know is an error, never ignored: a wrong verdict is worse than none."""

from __future__ import annotations


class Unknown(Exception):
    """A rule of the plan, or what was asked, that this room cannot follow."""

    def __init__(self, what: str, rule: str) -> None:
        super().__init__(f'cannot follow a packet past {what} in "{rule}": this is not known here')
