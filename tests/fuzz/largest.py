"""Requests at the bounds: each list of each body, and each filter of each list, as long as it may be and longer.

They are made of what the cloud says of itself, so that a new attribute, a new filter or a new route is met too: the
route tables, the good bodies of `bodies`, the declarations of the resources, and the OpenAPI document for the bounds.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from deuteron.api.app import MAX_QUERY_PAIRS
from deuteron.api.call import Route, Service
from deuteron.api.compute.queries import QUERIES
from deuteron.api.network.tags import Tags
from deuteron.api.openapi import DECLARED
from deuteron.api.wire import MAX_HEAD_BYTES
from deuteron.rules.network.registry import KINDS
from tests.fuzz.bodies import BODIES, path_of

SIZES = (5, 10, 20, 30, 32, 50, 64, 80, 100, 128, 200, 201, 256, 512, 1024)
"""The bounds of lists, and some between and beyond."""
BEYOND = 40_000
"""Items of a list that fill any body."""
HEAD_ROOM = MAX_HEAD_BYTES - 4096


TAGS: dict[tuple[str, str], list[Any]] = {
    (route.method, route.path): [{"tags": ["a"]}]
    for kind in KINDS
    if "tags" in kind.resource.by_name
    for route in Tags(kind).routes()
    if route.path.endswith("/tags") and route.method in ("PUT", "POST")
}


@dataclass(frozen=True)
class Large:
    """One request: its method, its path as the route table has it, and its body or query."""

    what: str
    method: str
    path: str
    make: Callable[[], Any] | None = None
    """Makes the body, which is not kept: all of them are some gigabytes, and most are made for nothing."""
    query: str = ""

    @property
    def body(self) -> Any:
        return None if self.make is None else self.make()


def bodies() -> Iterator[Large]:
    """Each list and object of each good body with so many items as any bound has, one more, and far more."""
    for (method, path), examples in {**BODIES, **TAGS}.items():
        for example in examples:
            for trail, found in _places(example):
                for size in (*SIZES, BEYOND):
                    what = f"{size} items in {'.'.join(map(str, trail)) or 'the body'}"
                    yield Large(what, method, path, partial(_with_larger, example, trail, found, size))


def texts() -> Iterator[Large]:
    """Each text of each good body as a very long one."""
    for (method, path), examples in BODIES.items():
        for example in examples:
            for trail in _texts(example):
                what = f"a long {'.'.join(map(str, trail))}"
                yield Large(what, method, path, partial(_with, example, trail, "a" * 100_000))


def _with_larger(example: Any, trail: tuple[Any, ...], found: Any, size: int) -> Any:
    return _with(example, trail, _grown(found, size))


def _with(example: Any, trail: tuple[Any, ...], value: Any) -> Any:
    """A copy of the example with the value at the end of the trail."""
    if not trail:
        return value
    made = copy.deepcopy(example)
    holder = made
    for step in trail[:-1]:
        holder = holder[step]
    holder[trail[-1]] = value
    return made


def queries(services: tuple[Service, ...]) -> Iterator[Large]:
    """Each filter of each list: many values, many words in one value, one long value; and all that orders a list."""
    for service in services:
        for route in service.routes():
            path = path_of(service, route)
            if route.method != "GET" or not path.endswith(route.path) or path.count("/") < 2:
                continue
            for name in _names(service, route):
                for what, pairs in _values(name):
                    text = urlencode(pairs)
                    if len(text) < HEAD_ROOM:
                        yield Large(f"{what} of {name}", "GET", path, query=text)


def _names(service: Service, route: Route) -> list[str]:
    parts = route.path.strip("/").split("/")
    if parts[-1].startswith("{") and service.name != "compute":
        return ["fields"]
    names = ["limit", "marker", "fields", "sort_key", "nonsense", "tags", "not-tags-any", "name", "status"]
    if parts[-1] in ("networks", "servers", "projects"):
        names += ["tags-any", "not-tags", "id", "sort_dir", "page_reverse"]
    for resource in DECLARED.get(service.name, ()):
        if parts[-1] == resource.path.rpartition("/")[2]:
            names += [attribute.name for attribute in resource.attributes if attribute.filter]
    for kind in KINDS:
        if service.name == "network" and parts[-1] == kind.resource.path.rpartition("/")[2]:
            names += kind.filters
    if service.name == "compute":
        found = QUERIES.get((route.method, f"/{'/'.join(parts[1:])}"))
        names += [] if found is None else found.names
    if service.name == "identity":
        names += ["name__contains", "name__icontains", "enabled"]
    return list(dict.fromkeys(names))


def _values(name: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    many = MAX_QUERY_PAIRS - 1
    starts = {"fixed_ips": "ip_address_substr="}
    start = starts.get(name, "")
    yield "many equal values", [(name, f"{start}1")] * many
    yield "many values", [(name, f"{start}{n}") for n in range(many)]
    yield "many ids", [(name, f"00000000-0000-4000-8000-{n:012x}") for n in range(400)]
    yield "many words", [(name, ",".join("a" for _ in range(HEAD_ROOM // 5)))]
    yield "different words", [(name, ",".join(f"a{n}" for n in range(HEAD_ROOM // 12)))]
    yield "a long value", [(name, "a" * (HEAD_ROOM - 1000))]
    yield "a long list of values", [(name, f"in:{','.join('a' for _ in range(HEAD_ROOM // 5))}")]
    yield "a pattern", [(name, "a*" * 100 + "b")]
    if name == "fixed_ips":
        yield "many addresses", [(name, f"ip_address=10.0.{n // 250}.{n % 250}") for n in range(many)]
        yield "many subnets", [(name, f"subnet_id={n:032x}") for n in range(many)]
    if name in ("sort_key", "sort_dir"):
        known = ("id", "name", "status", "project_id", "created_at")
        keys = itertools.islice(itertools.cycle(known), many // 2)
        yield "many orders", [pair for key in keys for pair in (("sort_key", key), ("sort_dir", "asc"))]
        yield "many orders in one", [("sort", ",".join(f"{known[n % 2]}:asc" for n in range(4000)))]


def _places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The way to every list and object inside, and what is there."""
    if isinstance(value, list | dict):
        yield before, value
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(item, (*before, key))


def _texts(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, str):
        yield before
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _texts(item, (*before, key))


def _grown(found: Any, size: int) -> Any:
    """`size` items like those that are there, each different, as good as the first."""
    if isinstance(found, dict):
        return {**found, **{f"k{n}": "v" for n in range(size - len(found))}}
    first = found[0] if found else "a"
    return [_another(first, number) for number in range(size)]


def _another(item: Any, number: int) -> Any:
    """An item like this one with another name, address or number in it."""
    if isinstance(item, dict):
        return {key: _another(value, number) for key, value in item.items()}
    if not isinstance(item, str) or item.startswith("$"):
        return item
    text = item
    for old in ("10.8.0.0/16", "10.7.0.0/16"):
        text = text.replace(old, f"10.{number >> 8 & 255}.{number & 255}.0/24")
    for old in ("10.0.0.9", "8.8.8.8"):
        text = text.replace(old, f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
    if text == item and "/" not in item and "." not in item and ":" not in item:
        return f"{item}{number}"
    return text


def encoded(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


__all__ = ["Large", "bodies", "encoded", "queries", "texts"]
