"""What the services with microversions have in common: how one is asked for, and errors that are named by their status.

Source: OpenStack API special interest group, microversion specification; nova/api/openstack/wsgi.py and
cinder/api/openstack/wsgi.py, `set_api_version_request` and `Fault`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from deuteron.api.call import Call
from deuteron.model.errors import ApiError, BadRequest, NotAcceptable, NotAllowed, NotFound

_NAMES: Final = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
"""Of error bodies, by status: `{"itemNotFound": {"code": 404, "message": "Instance 1b… could not be found."}}`."""
_ANY_OTHER: Final = "computeFault"
NO_ROUTE: Final = "The resource could not be found."


@dataclass(frozen=True)
class Microversions:
    """Those that a service answers: `major.minimum` to `major.maximum`."""

    major: int
    minimum: int
    maximum: int
    services: tuple[str, ...]
    """What the service is called in `OpenStack-API-Version`; by the first in answers."""
    older_header: str = ""
    """A header of its own from before that one, lower case; its value is the version alone."""

    def negotiate(self, call: Call) -> int:
        """The minor version that is asked for, the least without one. Raises: BadRequest, NotAcceptable."""
        asked = None
        for item in call.headers.get("openstack-api-version", "").split(","):
            service, _, version = item.strip().partition(" ")
            if service.lower() in self.services:
                asked = version.strip()
        if asked is None and self.older_header:
            asked = call.headers.get(self.older_header)
        if asked is None:
            return self.minimum
        if asked.lower() == "latest":
            return self.maximum
        match = re.fullmatch(r"([1-9][0-9]{0,5})\.([1-9][0-9]{0,5}|0)", asked)
        if match is None:
            raise BadRequest(
                f"API Version String {asked[:80]} is of invalid format. Must be of format MajorNum.MinorNum.",
                type="InvalidAPIVersionString",
            )
        major, minor = int(match[1]), int(match[2])
        if major != self.major or not self.minimum <= minor <= self.maximum:
            raise NotAcceptable(
                f"Version {asked} is not supported by the API. Minimum is {self.major}.{self.minimum} and maximum is "
                f"{self.major}.{self.maximum}.",
                type="InvalidGlobalAPIVersion",
            )
        return minor


@dataclass(frozen=True)
class Since:
    """A handler that is there from a microversion on. Raises, when called before: NotFound or NotAllowed."""

    minor: int
    handler: Callable[..., Any]
    """Of a transaction, or asynchronous and of none."""
    is_other_method: bool = False
    """Whether the path has been there before, with other methods."""

    def __call__(self, call: Call, *tx: Any) -> Any:
        if call.version < self.minor:
            raise NotAllowed("") if self.is_other_method else NotFound(NO_ROUTE, type="HTTPNotFound")
        return self.handler(call, *tx)


def fault(error: ApiError, **more: str) -> tuple[int, dict[str, Any]]:
    """The status of an error, and its body: `more` stands beside code and message.

    The routes of these services hold the method too, so a method that a path has not is a path that is not there.
    """
    message = error.message if error.hint is None else f"{error.message} ({error.hint})"
    status = error.status
    if isinstance(error, NotAllowed):
        status, message = 404, NO_ROUTE
    return status, {_NAMES.get(status, _ANY_OTHER): {"code": status, "message": message, **more}}
