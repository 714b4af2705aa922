"""Versions: the documents that clients read first, and the microversion that a request asks for.

Source: cinder/api/versions.py, cinder/api/openstack/api_version_request.py, rest_api_version_history.rst.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.model.errors import BadRequest, NotAcceptable, NotFound

MINIMUM: Final = 0
MAXIMUM: Final = 71
"""Of the minor number: 3.0 to 3.71."""


def negotiate(call: Call) -> int:
    """The minor version that the request asks for, 0 without one. Raises: BadRequest, NotAcceptable."""
    asked = None
    for item in call.headers.get("openstack-api-version", "").split(","):
        service, _, version = item.strip().partition(" ")
        if service.lower() in ("volume", "block-storage"):
            asked = version.strip()
    if asked is None:
        return MINIMUM
    if asked.lower() == "latest":
        return MAXIMUM
    match = re.fullmatch(r"([1-9][0-9]{0,5})\.([1-9][0-9]{0,5}|0)", asked)
    if match is None:
        raise BadRequest(
            f"API Version String {asked[:80]} is of invalid format. Must be of format MajorNum.MinorNum.",
            type="InvalidAPIVersionString",
        )
    major, minor = int(match[1]), int(match[2])
    if major != 3 or not MINIMUM <= minor <= MAXIMUM:
        raise NotAcceptable(
            f"Version {asked} is not supported by the API. Minimum is 3.{MINIMUM} and maximum is 3.{MAXIMUM}.",
            type="InvalidGlobalAPIVersion",
        )
    return minor


def headers(minor: int) -> dict[str, str]:
    return {"openstack-api-version": f"volume 3.{minor}", "vary": "OpenStack-API-Version"}


@dataclass(frozen=True)
class Since:
    """A handler that is there from a microversion on. Raises, when called before: NotFound."""

    minor: int
    handler: Callable[[Call, Any], Reply]

    def __call__(self, call: Call, tx: Any) -> Reply:
        if call.version < self.minor:
            raise NotFound("The resource could not be found.", type="HTTPNotFound")
        return self.handler(call, tx)


def index(call: Call, tx: Any) -> Reply:
    """GET /: several choices, of which there is one."""
    return Reply(300, {"versions": [_document(call)]})


def show(call: Call, tx: Any) -> Reply:
    return Reply(200, {"versions": [_document(call)]})


def _document(call: Call) -> dict[str, Any]:
    return {
        "id": "v3.0",
        "status": "CURRENT",
        "version": f"3.{MAXIMUM}",
        "min_version": f"3.{MINIMUM}",
        "updated": "2023-08-31T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": f"{call.base_url}/volume/v3/"},
        ],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}],
    }
