"""The root of the endpoint: which services are here, for people and for `up` to see that the API answers."""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call, Reply, Route
from deuteron.model.errors import ApiError


class Root:
    name = "root"
    prefix = ""
    exact_paths = False

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "/", _index, auth=False),)

    def prepare(self, call: Call) -> None:
        pass

    def error(self, call: Call | None, error: ApiError) -> Reply:
        return Reply(error.status, {"error": {"code": error.status, "title": error.type, "message": error.message}})


def _index(call: Call, tx: Any) -> Reply:
    services = {"identity": "/identity/v3", "network": "/network", "compute": "/compute/v2.1", "image": "/image"}
    return Reply(200, {"name": "deuteron", "services": {name: call.base_url + path for name, path in services.items()}})
