"""Versions: the documents that clients read first, and the microversion that a request asks for.

Microversions 2.1 to 2.104 are answered in their own shape; what each changed that we have is handled where
the answer is made (`views`) or the body read. Features that a microversion brought and this cloud lacks are
refused by name, at every microversion.

Source: nova/api/openstack/api_version_request.py; nova/api/openstack/compute/rest_api_version_history.rst.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.microversions import Microversions
from deuteron.model.errors import NotFound

MINIMUM: Final = 1
MAXIMUM: Final = 104
"""Of the minor number: 2.1 to 2.104."""
_SPOKEN: Final = Microversions(2, MINIMUM, MAXIMUM, ("compute",), "x-openstack-nova-api-version")
negotiate = _SPOKEN.negotiate


def headers(minor: int) -> dict[str, str]:
    return {
        "openstack-api-version": f"compute 2.{minor}",
        "x-openstack-nova-api-version": f"2.{minor}",
        "vary": "OpenStack-API-Version, X-OpenStack-Nova-API-Version",
    }


def only_until(call: Call, minor: int) -> None:
    """Refuse what a later microversion took away, as Nova does: the path is not there. Raises: NotFound."""
    if call.version > minor:
        raise NotFound("The resource could not be found.", type="HTTPNotFound")


def until(minor: int, handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, for a path that a later microversion took away."""

    def check(call: Call, *more: Any) -> Any:
        only_until(call, minor)
        return handler(call, *more)

    return check


def only_from(call: Call, minor: int) -> None:
    """Refuse what came with a later microversion. Raises: NotFound."""
    if call.version < minor:
        raise NotFound("The resource could not be found.", type="HTTPNotFound")


def index(call: Call, tx: Any) -> Reply:
    return Reply(200, {"versions": [_legacy(call), _document(call)]})


def show(call: Call, tx: Any) -> Reply:
    return Reply(200, {"version": {**_document(call), "media-types": [_MEDIA_TYPE]}})


def show_legacy(call: Call, tx: Any) -> Reply:
    media_type = {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2"}
    return Reply(200, {"version": {**_legacy(call), "media-types": [media_type]}})


_MEDIA_TYPE: Final = {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}


def _legacy(call: Call) -> dict[str, Any]:
    """v2.0: the same as v2.1 without microversions."""
    return {
        "id": "v2.0",
        "status": "SUPPORTED",
        "version": "",
        "min_version": "",
        "updated": "2011-01-21T11:33:21Z",
        "links": [{"rel": "self", "href": f"{call.base_url}/compute/v2/"}],
    }


def _document(call: Call) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": f"2.{MAXIMUM}",
        "min_version": f"2.{MINIMUM}",
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{call.base_url}/compute/v2.1/"}],
    }
