"""What every answer must be, whatever was asked: no defect of ours, and an error in the shape of its service."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from tests.fuzz.world import Answer, Request

COMPUTE_FAULTS = {
    400: "badRequest", 403: "forbidden", 404: "itemNotFound", 409: "conflictingRequest", 413: "overLimit",
    415: "badMediaType", 429: "overLimit", 501: "notImplemented",
}  # fmt: skip
REFUSALS = frozenset({400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 429})


def complaint(request: Request, answer: Answer) -> str | None:
    """What is wrong with the answer, None when it is as it must be."""
    for word in (b"Traceback (most recent call last)", b'File "', b"sqlalchemy", b"sqlite3."):
        if word in answer.body:
            return f"the body shows our insides: {answer.body[:400]!r}"
    if answer.status == 501 and b"not available in this cloud" in answer.body:
        return None  # what Nova can do and this cloud says it cannot
    if answer.status == 503 and b"is not connected, so nobody can answer for it" in answer.body:
        return None  # where the cloud is alone, it has no host to ask how a guest does
    if answer.status >= 500:
        return f"status {answer.status}: {answer.body[:400]!r}"
    if answer.status < 400:
        return _success(request, answer)
    if answer.status not in REFUSALS:
        return f"status {answer.status} is none of a refusal: {answer.body[:400]!r}"
    if request.method == "HEAD":
        return None
    shape = _SHAPES.get(_service(request), _root)
    try:
        problem = shape(request, answer)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = repr(error)
    return None if problem is None else f"{problem}: {answer.status} {answer.body[:400]!r}"


def _service(request: Request) -> str:
    return unquote(request.path.decode("latin-1")).lstrip("/").partition("/")[0]


def _success(request: Request, answer: Answer) -> str | None:
    if answer.status == 204 and answer.body:
        return "204 with a body"
    if answer.headers.get("content-type", "").startswith("application/json") and request.method != "HEAD":
        try:
            json.loads(answer.body)
        except ValueError as error:
            return f"a body that is no JSON ({error}): {answer.body[:200]!r}"
    return None


def _keystone(request: Request, answer: Answer) -> str | None:
    (error,) = answer.json.values()
    if list(answer.json) != ["error"] or not {"code", "title", "message"} <= set(error):
        return "not the shape of Keystone's errors"
    return _says(error["message"]) if error["code"] == answer.status else "another code than the status"


def _neutron(request: Request, answer: Answer) -> str | None:
    if answer.status == 401:
        return _keystone(request, answer)
    (error,) = answer.json.values()
    if list(answer.json) != ["NeutronError"] or not {"type", "message", "detail"} <= set(error):
        return "not the shape of Neutron's errors"
    return _says(error["message"]) or (None if error["type"] else "without a type")


def _nova(request: Request, answer: Answer) -> str | None:
    if answer.status == 401:
        return _keystone(request, answer)
    ((name, error),) = answer.json.items()
    if name != COMPUTE_FAULTS.get(answer.status, "computeFault"):
        return f"{name} for {answer.status}"
    return _says(error["message"]) if error["code"] == answer.status else "another code than the status"


def _cinder(request: Request, answer: Answer) -> str | None:
    if answer.status == 412 and request.method == "PUT":
        # Metadata that are other than the client last saw: Cinder says so by the status alone.
        return None if not answer.body and "/metadata" in unquote(request.path.decode("latin-1")) else "412 with a body"
    # Like Nova's, but of what is too much.
    return _nova(request, answer)


def _page(_request: Request, answer: Answer) -> str | None:
    """People look at consoles: what is not there is a page, too, and what clients send is in none of it."""
    if not answer.headers["content-type"].startswith("text/html"):
        return "no page"
    return None if answer.body.startswith(b"<!DOCTYPE html><title>%d</title>" % answer.status) else "not the page of it"


def _dashboard(request: Request, answer: Answer) -> str | None:
    is_page = answer.headers["content-type"].startswith("text/html")
    return _page(request, answer) if is_page else _root(request, answer)


def _placement(request: Request, answer: Answer) -> str | None:
    if answer.status == 401:
        return _keystone(request, answer)
    (error,) = answer.json["errors"]
    if error["status"] != answer.status or not error["title"]:
        return "not the shape of Placement's errors"
    return _says(error["detail"])


def _glance(request: Request, answer: Answer) -> str | None:
    if answer.status == 401:
        return _keystone(request, answer)
    if answer.headers["content-type"].startswith("application/json"):
        error = answer.json
        if not {"message", "code", "title"} <= set(error) or not str(error["code"]).startswith(str(answer.status)):
            return "not the shape of Glance's errors"
        return _says(error["message"])
    if not answer.headers["content-type"].startswith(("text/html", "text/plain")):
        return f"type {answer.headers['content-type']}"
    return None if str(answer.status).encode() in answer.body else "the page does not tell its status"


def _root(request: Request, answer: Answer) -> str | None:
    (error,) = answer.json.values()
    return None if error["code"] == answer.status else "another code than the status"


def _says(message: Any) -> str | None:
    return None if isinstance(message, str) and message.strip() else "without a message"


_SHAPES = {
    "console": _page,
    "dashboard": _dashboard,
    "identity": _keystone,
    "network": _neutron,
    "compute": _nova,
    "image": _glance,
    "volume": _cinder,
    "placement": _placement,
}
