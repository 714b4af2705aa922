"""What a test asks of the Network API, and what it looks at in the answers.

The clients of tests say what they sent (`heard`) and read answers through `read`. A fact (`POST /networks`,
`network.mtu create`) is noted when a test did it and was answered with success; that an attribute was made or changed,
when the test also looked at it in an answer, if answers have it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from deuteron.api.call import Route, RouteTable
from deuteron.api.network.service import NetworkService
from deuteron.model.errors import ApiError
from deuteron.model.network import RESOURCES
from deuteron.model.resource import Resource

_PREFIX = "/network"
ROLES = ("create", "update", "show", "filter", "sort")
"""What may be done with an attribute, in the order of the page."""
_SET = {"POST": "create", "PUT": "update"}

REFUSED = {
    "DELETE /agents/{id}": "an agent is a part of its host",
}
"""Verbs that are there to be refused, and why: for a 404 a client would look for the agent elsewhere."""

_done: set[str] = set()
_sent: dict[str, set[str]] = {}
"""Kind and attribute to the roles in which a body held it."""
_looked: set[str] = set()


def begin() -> None:
    """Forget what was noted: another test begins."""
    _done.clear()
    _sent.clear()
    _looked.clear()


def facts() -> set[str]:
    """What the test showed so far: `VERB /path`, and `kind.attribute role`."""
    shown = {f"{name} show" for name in _looked}
    unseen = _never_shown()
    made = {f"{name} {role}" for name, roles in _sent.items() if name in _looked | unseen for role in roles}
    return _done | shown | made


def heard(method: str, path: str, query: str, body: bytes, status: int) -> None:
    """Note a request that was answered."""
    if not path.startswith(_PREFIX) or status in (401, 403, 404):
        return
    try:
        route, _ = _routes().find(method, path.removeprefix(_PREFIX) or "/")
    except ApiError:
        return
    template = named(route)
    if not 200 <= status < 300 and f"{method} {template}" not in REFUSED:
        return
    _done.add(f"{method} {template}")
    if resource := _collections().get(template):
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name in resource.by_name:
                _done.add(f"{resource.name}.{name} filter")
            elif name == "sort_key" and value in resource.by_name:
                _done.add(f"{resource.name}.{value} sort")
    if method in _SET and body:
        for resource, found in _objects(json.loads(body)):
            for name in found:
                if name in resource.by_name:
                    _sent.setdefault(f"{resource.name}.{name}", set()).add(_SET[method])


def named(route: Route) -> str:
    """What the page calls the path of a route."""
    return route.path.removeprefix("/v2.0") or route.path


def read(path: str, raw: bytes) -> Any:
    """The JSON of an answer, which notes what is looked at in it."""
    value = json.loads(raw)
    if not path.startswith(_PREFIX) or not isinstance(value, dict):
        return value
    found: dict[str, Any] = dict(value)
    for name, item in value.items():
        if resource := _members().get(name):
            if isinstance(item, dict):
                found[name] = Shown(resource, item)
            elif isinstance(item, list):
                found[name] = [Shown(resource, each) if isinstance(each, dict) else each for each in item]
    return found


class Shown(dict[str, Any]):
    """An object of an answer. Who compares the whole has looked at all that it is compared with."""

    def __init__(self, resource: Resource, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._of = resource

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        self._note(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        self._note(name)
        return super().get(name, default)

    def __eq__(self, other: object) -> bool:
        for name in other if isinstance(other, dict) else ():
            self._note(name)
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as a dictionary's

    def _note(self, name: str) -> None:
        if name in self._of.by_name:
            _looked.add(f"{self._of.name}.{name}")


def _objects(body: Any) -> list[tuple[Resource, Mapping[str, Any]]]:
    """The objects of a body with their kinds: one, or all of a bulk request."""
    found: list[tuple[Resource, Mapping[str, Any]]] = []
    for name, item in body.items() if isinstance(body, dict) else ():
        if resource := _members().get(name):
            found += [
                (resource, each) for each in (item if isinstance(item, list) else [item]) if isinstance(each, dict)
            ]
    return found


@cache
def _never_shown() -> frozenset[str]:
    """Attributes of bodies that no answer has."""
    return frozenset(f"{kind.name}.{each.name}" for kind in RESOURCES for each in kind.attributes if not each.read)


@cache
def _routes() -> RouteTable:
    return RouteTable(NetworkService().routes())


@cache
def _collections() -> dict[str, Resource]:
    """Path of a collection to its kind."""
    return {f"/{resource.path}": resource for resource in RESOURCES}


@cache
def _members() -> dict[str, Resource]:
    """What bodies call one, or several, to their kind."""
    names = ((name, each) for each in RESOURCES for name in (each.member_name, each.plural, each.alias_name))
    return dict(names)
