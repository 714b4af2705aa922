"""Whatever a client sends has a bound that is looked at before anything in it, and messages about it are short."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

from deuteron.api import compute, identity, image, network, placement, volume
from deuteron.api.network.service import KINDS
from deuteron.api.openapi import DECLARED, document
from deuteron.model.caller import Caller
from deuteron.model.codecs import Invalid, ListOf, Text, TooMany, quoted
from deuteron.model.errors import MAX_MESSAGE, BadRequest
from deuteron.model.resource import Attribute, Resource
from deuteron.rules.network import listing
from deuteron.store import query
from deuteron.store.listing import Asked
from deuteron.store.network_tables import ports
from tests.fuzz.bodies import BODIES, path_of
from tests.fuzz.largest import TAGS

WRITABLE = [
    pytest.param(attribute, id=f"{resource.name}-{attribute.name}")
    for resources in DECLARED.values()
    for resource in resources
    for attribute in resource.attributes
    if (attribute.create or attribute.update) and attribute.codec.column == "json"
]
"""Every attribute of every service that holds more than one value."""


class Untouchable:
    """An item that must not be looked at."""

    def _touched(self, *_: object) -> Any:
        raise AssertionError("an item was looked at before the bound of its list")

    __eq__ = __hash__ = __str__ = __repr__ = __iter__ = __len__ = _touched  # type: ignore[assignment]  # by design


@pytest.mark.parametrize("attribute", WRITABLE)
def test_the_bound_of_a_list_is_looked_at_first(attribute: Attribute) -> None:
    for raw in ([Untouchable()] * 20_000, {str(n): Untouchable() for n in range(20_000)}):
        with pytest.raises(Invalid) as refused:
            attribute.codec.decode(raw)
        is_no_list = any(
            said in refused.value.reason for said in ("not a", "of type", "Invalid data format", "must be a list")
        )
        assert isinstance(refused.value, TooMany) or is_no_list


def _schemas(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        if "type" in value:
            yield path, value
        for name, item in value.items():
            yield from _schemas(item, f"{path}/{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _schemas(item, path)


def test_the_document_tells_the_bound_of_every_list_and_every_text_of_a_body() -> None:
    services = (
        identity.SERVICE(),
        network.SERVICE(),
        image.SERVICE(),
        volume.SERVICE(),
        compute.SERVICE(),
        placement.SERVICE(),
    )
    schemas = document(services, "http://x")["components"]["schemas"]
    bodies = {name: schema for name, schema in schemas.items() if name.endswith((".create", ".update"))}
    assert len(bodies) > 30
    unbounded = [path for path, schema in _schemas(bodies) if "array" in schema["type"] and "maxItems" not in schema]
    assert unbounded == []


WITHOUT_BODY = re.compile(
    r"/(tags/\{tag\}|users/\{user_id\}|implies/\{implied_id\}|roles/\{role_id\}(/inherited_to_projects)?"
    r"|bindings/\{host\}/activate|projects/\{project_id\}(/endpoints/\{endpoint_id\})?)$"
)
"""What the path says whole."""


def test_every_body_is_met_by_the_largest_requests() -> None:
    """A new route whose body has no example in the fuzzer would not be measured."""
    services = (
        identity.SERVICE(),
        network.SERVICE(),
        image.SERVICE(),
        volume.SERVICE(),
        compute.SERVICE(),
        placement.SERVICE(),
    )
    routes = {(route.method, path_of(service, route)) for service in services for route in service.routes()}
    examples = {**BODIES, **TAGS}
    assert not [key for key in examples if key not in routes], "examples of routes that are not there"
    reads_a_body = {
        (method, path)
        for method, path in routes
        if method in ("POST", "PUT", "PATCH")
        and path.startswith(("/v3/", "/v2.0/", "/v2.1/", "/volume/v3/"))
        and not WITHOUT_BODY.search(path)
    }
    assert sorted(reads_a_body - set(examples)) == []


def test_a_message_quotes_what_is_short_whole_and_of_what_is_long_its_beginning() -> None:
    for short in ("a", "é" * 80, 5, None, True, 1.5, [1, "a"], {"a": [1, {"b": None}]}, b"x", ()):
        assert quoted(short) == str(short)
    longs = ("a" * 10**6, [["a"] * 1000] * 1000, {str(n): "x" * 1000 for n in range(10_000)}, b"a" * 10**6)

    def cost_s() -> float:
        begun = time.thread_time()
        assert all(len(quoted(long)) <= 81 for long in longs)
        return time.thread_time() - begun

    # The best of some: a busy machine makes one longer, never shorter.
    assert min(cost_s() for _ in range(4)) < 0.05


def test_no_error_is_a_long_text() -> None:
    assert len(BadRequest("x" * 10**6).message) == MAX_MESSAGE + 1
    assert BadRequest("short").message == "short"


def test_a_list_without_a_bound_of_its_own_has_one() -> None:
    assert ListOf(Text()).max_items == 100
    with pytest.raises(TooMany, match=re.escape("holds 101 items, at most 100")):
        ListOf(Text()).decode(["a"] * 101)
    with pytest.raises(Invalid, match="Duplicate items in the list: 'a'"):
        ListOf(Text(), unique=True).decode(["a", "b", "a"])


@pytest.mark.parametrize(
    "condition",
    [
        lambda values: query.any_of(ports.c.id, values),
        lambda values: query.has_any_word(ports.c.tags, values),
        lambda values: query.has_all_words(ports.c.tags, values),
        lambda values: query.contains_any(ports.c.name, values),
    ],
)
def test_a_statement_is_no_longer_for_many_values_than_for_two(condition: Any) -> None:
    two, many = (condition([str(n) for n in range(count)]).compile(dialect=sqlite.dialect()) for count in (2, 2000))
    assert many.string == two.string
    assert len(many.params) == len(two.params) <= 3


@pytest.mark.parametrize("resource", [kind.resource for kind in KINDS], ids=lambda resource: resource.name)
def test_the_statement_of_a_list_does_not_grow_with_its_query(resource: Resource, tmp_path: Path) -> None:
    """Every filter of every kind with two values and with a thousand: as many parameters."""
    (kind,) = [each for each in KINDS if each.resource is resource]
    caller = Caller("u", "u", "d", frozenset({"admin"}))
    names = [a.name for a in resource.attributes if a.filter and a.stored and a.read] + list(kind.filters)
    names += ["tags", "tags-any", "not-tags", "not-tags-any"] if "tags" in names else []
    assert names, "it is found by something"
    for name in names:
        start = "subnet_id=" if name == "fixed_ips" else ""
        most = 200 if "tags" in name else 1000
        sizes = set()
        for count in (2, most):
            texts = [f"{start}{n % 2 if _is_boolean(resource, name) else _word(name, n)}" for n in range(count)]
            asked = Asked(tuple((name, text) for text in texts))
            (condition,) = listing.conditions(kind, caller, asked, lambda attribute: True)
            sizes.add(len(condition.compile(dialect=sqlite.dialect()).params))
        assert len(sizes) == 1, (name, sizes)


def _word(name: str, n: int) -> str:
    """A value that such an attribute may have."""
    if name in ("cidr", "remote_ip_prefix", "normalized_cidr"):
        return f"10.0.{n % 250}.0/24"
    if name == "object_type":
        return ("network", "qos_policy")[n % 2]
    return ("IPv4", "IPv6")[n % 2] if name == "ethertype" else str(n % 250 if name == "protocol" else n)


def _is_boolean(resource: Resource, name: str) -> bool:
    attribute = resource.by_name.get(name)
    return name == "shared" or (attribute is not None and attribute.codec.column == "boolean")
