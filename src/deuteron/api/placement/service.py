"""The Placement service: its routes, its version negotiation and the shape of its errors."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from deuteron.api.call import PASTE_MAX_BODY_BYTES, Call, Mode, Reply, Route
from deuteron.api.microversions import NO_ROUTE, Since
from deuteron.api.placement import allocations, candidates, inventories, names, providers, versions
from deuteron.api.placement.answers import PREFIX
from deuteron.model.errors import ApiError, BadRequest, NotFound

READ, WRITE = Mode.READ, Mode.WRITE
_CODES_SINCE: Final = 23
_ANY_CODE: Final = "placement.undefined_code"
_OTHER_METHOD: Final = "The method specified is not allowed for this resource."
_WORDS: Final = {
    400: "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    403: "Access was denied to this resource.",
    404: "The resource could not be found.",
    409: "There was a conflict when trying to complete your request.",
}
"""What the details of an error begin with. Source: webob/exc.py."""


class PlacementService:
    """Placement's dialect under /placement."""

    name = "placement"
    prefix = PREFIX
    max_body_bytes = PASTE_MAX_BODY_BYTES
    exact_paths = True
    same_words = False

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/", versions.index, auth=False),
            *(Route(method, path, handler, mode) for method, path, handler, mode in _ROUTES),
        )

    def prepare(self, call: Call) -> None:
        call.version = versions.negotiate(call)
        call.extra_headers.update(versions.headers(call.version))
        if call.odd_slashes and call.path != "/":
            raise NotFound("")
        if call.raw and not call.headers.get("content-type"):
            raise BadRequest("content-type header required when content-length > 0")

    def error(self, call: Call | None, error: ApiError) -> Reply:
        if error.status == 401:
            body = {"error": {"code": 401, "title": "Unauthorized", "message": error.message}}
            return Reply(401, body, {"www-authenticate": 'Keystone uri="/identity"'})
        if call is not None and call.version is None:
            _negotiate_late(call)
        status = HTTPStatus(error.status)
        headers, message = {}, "" if error.message == NO_ROUTE else error.message
        if error.status == 405:
            method = "" if call is None else call.method
            message = f"The method {method} is not allowed for this resource. \n\n {_OTHER_METHOD}"
            if error.detail:
                headers["allow"] = ", ".join(error.detail.split(","))
        found: dict[str, Any] = {"status": error.status, "title": status.phrase}
        found["detail"] = f"{_WORDS[error.status]}\n\n {message}  " if error.status in _WORDS else message
        version = None if call is None else call.version
        if version is not None and version >= _CODES_SINCE:
            found["code"] = error.type if error.type.startswith("placement.") else _ANY_CODE
        if call is not None:
            found["request_id"] = call.request_id
        if error.status == 406 and version is None:
            found |= {"max_version": f"1.{versions.MAXIMUM}", "min_version": f"1.{versions.MINIMUM}"}
        return Reply(error.status, {"errors": [found]}, headers)


def _negotiate_late(call: Call) -> None:
    """Of what no route was found for, or another method."""
    try:
        call.version = versions.negotiate(call)
    except ApiError:
        return
    call.extra_headers.update(versions.headers(call.version))


_P = "/resource_providers/{id}"
_I = f"{_P}/inventories"
_C = "/resource_classes"
_ROUTES: Final[tuple[tuple[str, str, Callable[..., Any], Mode], ...]] = (
    ("GET", "/resource_providers", providers.list_all, READ),
    ("POST", "/resource_providers", providers.create, WRITE),
    ("GET", _P, providers.show, READ),
    ("PUT", _P, providers.update, WRITE),
    ("DELETE", _P, providers.remove, WRITE),
    ("GET", _I, inventories.list_all, READ),
    ("POST", _I, inventories.create, WRITE),
    ("PUT", _I, inventories.replace, WRITE),
    ("DELETE", _I, Since(5, inventories.remove_all, is_other_method=True), WRITE),
    ("GET", f"{_I}/{{resource_class}}", inventories.show, READ),
    ("PUT", f"{_I}/{{resource_class}}", inventories.update, WRITE),
    ("DELETE", f"{_I}/{{resource_class}}", inventories.remove, WRITE),
    ("GET", f"{_P}/usages", inventories.usages, READ),
    ("GET", f"{_P}/aggregates", Since(1, providers.list_aggregates), READ),
    ("PUT", f"{_P}/aggregates", Since(1, providers.set_aggregates), WRITE),
    ("GET", f"{_P}/traits", Since(6, providers.list_traits), READ),
    ("PUT", f"{_P}/traits", Since(6, providers.set_traits), WRITE),
    ("DELETE", f"{_P}/traits", Since(6, providers.clear_traits), WRITE),
    ("GET", f"{_P}/allocations", allocations.of_provider, READ),
    ("GET", _C, Since(2, names.list_classes), READ),
    ("POST", _C, Since(2, names.create_class), WRITE),
    ("GET", f"{_C}/{{name}}", Since(2, names.show_class), READ),
    ("PUT", f"{_C}/{{name}}", Since(2, names.put_class), WRITE),
    ("DELETE", f"{_C}/{{name}}", Since(2, names.remove_class), WRITE),
    ("GET", "/traits", Since(6, names.list_traits), READ),
    ("GET", "/traits/{name}", Since(6, names.show_trait), READ),
    ("PUT", "/traits/{name}", Since(6, names.make_trait), WRITE),
    ("DELETE", "/traits/{name}", Since(6, names.remove_trait), WRITE),
    ("POST", "/allocations", Since(13, allocations.post), WRITE),
    ("GET", "/allocations/{id}", allocations.of_consumer, READ),
    ("PUT", "/allocations/{id}", allocations.put, WRITE),
    ("DELETE", "/allocations/{id}", allocations.remove, WRITE),
    ("GET", "/allocation_candidates", Since(10, candidates.list_all), READ),
    ("GET", "/usages", Since(9, allocations.total_usages), READ),
    ("POST", "/reshaper", Since(30, allocations.reshape), WRITE),
)
