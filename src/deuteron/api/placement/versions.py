"""Versions: the document that clients read first, and what comes and goes with a microversion.

Source: placement/microversion.py; placement/rest_api_version_history.rst.
"""

from __future__ import annotations

import re
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.microversions import Microversions
from deuteron.api.placement.answers import dated
from deuteron.model.errors import BadRequest, NotAcceptable

MINIMUM: Final = 0
MAXIMUM: Final = 39
"""Of the minor number: 1.0 to 1.39."""
_SPOKEN: Final = Microversions(1, MINIMUM, MAXIMUM, ("placement",))


def negotiate(call: Call) -> int:
    """The minor version. Raises: BadRequest, NotAcceptable, both in Placement's words."""
    try:
        return _SPOKEN.negotiate(call)
    except (BadRequest, NotAcceptable):
        asked = call.headers["openstack-api-version"].rpartition("placement")[2].partition(",")[0].strip()
        if re.fullmatch(r"-?\d{1,18}\.-?\d{1,18}", asked):
            raise NotAcceptable(f"Invalid microversion: Unacceptable version header: {asked}") from None
        raise BadRequest(f"Invalid microversion: invalid version string: {asked[:80]}") from None


def headers(minor: int) -> dict[str, str]:
    return {"openstack-api-version": f"placement 1.{minor}", "vary": "openstack-api-version"}


def index(call: Call, tx: Any) -> Reply:
    version = {
        "id": "v1.0",
        "max_version": f"1.{MAXIMUM}",
        "min_version": f"1.{MINIMUM}",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": ""}],
    }
    return dated(call, {"versions": [version]}, tx.now)
