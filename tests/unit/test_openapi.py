"""The OpenAPI document: whole, consistent in itself, and made of the declarations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from deuteron.api import compute, identity, image, network, openapi, placement, volume
from deuteron.api.root import Root

SERVICES = (
    identity.SERVICE(),
    network.SERVICE(),
    image.SERVICE(),
    volume.SERVICE(),
    compute.SERVICE(),
    placement.SERVICE(),
)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document((Root(SERVICES), *SERVICES), "http://127.0.0.1:5000")


def test_every_route_of_every_service_is_in_it(document: dict[str, Any]) -> None:
    for service in SERVICES:
        assert service.routes()
        for route in service.routes():
            place = (service.prefix + route.path).rstrip("/")
            assert route.method.lower() in document["paths"][place], f"{route.method} {place}"


def test_what_it_refers_to_is_there(document: dict[str, Any]) -> None:
    references = list(_references(document))
    assert len(references) > 100
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_each_variable_of_a_path_is_a_parameter(document: dict[str, Any]) -> None:
    assert any("{" in place for place in document["paths"])
    for place, operations in document["paths"].items():
        for operation in operations.values():
            named = [item["name"] for item in operation.get("parameters", ()) if item["in"] == "path"]
            assert named == re.findall(r"\{([^}]+)\}", place)


def test_the_schema_of_a_port_says_what_its_declaration_says(document: dict[str, Any]) -> None:
    made = document["components"]["schemas"]["network.port.create"]
    assert made["required"] == ["network_id"]
    assert made["properties"]["name"]["maxLength"] == 255
    assert "status" not in made["properties"]
    assert "network_id" not in document["components"]["schemas"]["network.port.update"]["properties"]


def test_patterns_are_those_of_json_schema(document: dict[str, Any]) -> None:
    """ECMA-262 knows no flags in the midst of a pattern, and generators of requests stop at one."""
    patterns = list(_under("pattern", document))
    assert patterns and [each for each in patterns if "(?" in each.replace("(?:", "").replace("(?!", "")] == []


def test_agents_paths_are_not_in_it(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert paths and not [place for place in paths if "internal" in place]


def _references(value: Any) -> Iterator[str]:
    return _under("$ref", value)


def _under(name: str, value: Any) -> Iterator[str]:
    """The texts that stand under this name, however deep."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == name and isinstance(item, str):
                yield item
            else:
                yield from _under(name, item)
    elif isinstance(value, list):
        for item in value:
            yield from _under(name, item)
