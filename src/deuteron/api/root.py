"""The root of the endpoint: which services are here, for people and for `up` to see that the API answers, and their
OpenAPI document; to administrators, who uses the API how much.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from deuteron.api import openapi
from deuteron.api.call import MAX_BODY_BYTES, Call, Reply, Route, Service
from deuteron.api.meter import Row, Usage
from deuteron.model.errors import ApiError
from deuteron.model.scalars import ProjectId
from deuteron.rules.identity.projects import all_names


class Root:
    """`services` are those that users speak to."""

    name = "root"
    prefix = ""
    max_body_bytes = MAX_BODY_BYTES
    exact_paths = False
    same_words = False

    def __init__(self, services: tuple[Service, ...] = ()) -> None:
        self._services = services
        self._described: dict[str, msgspec.Raw] | None = None
        """The document by its parts, made when it is first asked for: it is large, and a stranger may ask for it."""

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/", _index, auth=False),
            Route("GET", "/openapi.json", self._document, auth=False),
            Route("GET", "/usage", _usage),
        )

    def prepare(self, call: Call) -> None:
        pass

    def error(self, call: Call | None, error: ApiError) -> Reply:
        headers = {"Allow": error.detail} if error.status == 405 else {}
        body = {"error": {"code": error.status, "title": error.type, "message": error.message}}
        return Reply(error.status, body, headers)

    def _document(self, call: Call, tx: Any) -> Reply:
        if self._described is None:
            made = openapi.document((self, *self._services), call.base_url)
            self._described = {name: msgspec.Raw(msgspec.json.encode(part)) for name, part in made.items()}
        return Reply(200, {**self._described, "servers": openapi.servers(call.base_url)})


def _usage(call: Call, tx: Any) -> Reply:
    """GET /usage, for administrators: who has used the API since it started, and what held it longest."""
    call.policy.require(call.caller, "admin_required")
    meter = call.parts.meter
    names = all_names(tx)
    use = Usage(
        seconds=round(time.time() - meter.since, 1),
        projects=[Row(key, names.get(ProjectId(key), ""), use) for key, use in meter.projects.all().items()],
        addresses=[Row(key, "", use) for key, use in meter.addresses.all().items()],
        longest={str(place): found for place, found in meter.longest.items()},
    )
    return Reply(200, {"usage": use})


def _index(call: Call, tx: Any) -> Reply:
    services = {
        "identity": "/identity/v3",
        "network": "/network",
        "compute": "/compute/v2.1",
        "image": "/image",
        "block-storage": "/volume/v3",
        "placement": "/placement",
    }
    return Reply(200, {"name": "deuteron", "services": {name: call.base_url + path for name, path in services.items()}})
