"""Versions: the documents that clients read first, and the microversion that a request asks for.

Source: cinder/api/versions.py, cinder/api/openstack/api_version_request.py, rest_api_version_history.rst.
"""

from __future__ import annotations

from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.microversions import Microversions

MINIMUM: Final = 0
MAXIMUM: Final = 71
"""Of the minor number: 3.0 to 3.71."""
_SPOKEN: Final = Microversions(3, MINIMUM, MAXIMUM, ("volume", "block-storage"))
negotiate = _SPOKEN.negotiate


def headers(minor: int) -> dict[str, str]:
    return {"openstack-api-version": f"volume 3.{minor}", "vary": "OpenStack-API-Version"}


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
