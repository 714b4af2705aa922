"""Request bodies as JSON objects, refused in Neutron's words.

Source: openstack/neutron, neutron/api/v2/base.py (`prepare_request_body`).
"""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call
from deuteron.model.errors import BadRequest
from deuteron.rules.network import faults


def lacks(name: str) -> BadRequest:
    """What is said of a body without the object."""
    return faults.http_bad_request(f"Unable to find '{name}' in request body")


def parse(call: Call, name: str) -> dict[str, Any]:
    """The body as an object; an empty one is an empty object. Raises: BadRequest."""
    if not call.raw:
        raise lacks(name)
    try:
        body = call.json()
    except BadRequest:
        raise faults.http_bad_request("Body contains invalid data") from None
    if not isinstance(body, dict):
        raise faults.http_bad_request("Body contains invalid data")
    return body


def one(call: Call, name: str) -> dict[str, Any]:
    """The object under `name`. Raises: BadRequest."""
    body = parse(call, name)
    found = body.get(name)
    if name not in body:
        raise lacks(name)
    if not isinstance(found, dict):
        raise faults.http_bad_request("Body contains invalid data")
    return found


def several(raw: Any, name: str) -> list[dict[str, Any]]:
    """The objects of a list, each by itself or under `name`. Raises: BadRequest."""
    if not raw:
        raise faults.http_bad_request("Resources required")
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        raise faults.http_bad_request("Body contains invalid data")
    found: list[dict[str, Any]] = []
    for item in raw:
        inner = item.get(name, item)
        if inner is None:
            raise lacks(name)
        if not isinstance(inner, dict):
            raise faults.http_bad_request(f"Object '{name}' contains invalid data")
        found.append(inner)
    return found
