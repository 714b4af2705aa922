"""The one way in which bodies are decoded: what is looked at in which order, and who finds the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from deuteron.model.codecs import Integer, ListOf, Text
from deuteron.model.errors import BadRequest
from deuteron.model.resource import REQUIRED, Attribute, Resource, Words, decode_create, decode_update, decode_value
from deuteron.rules.identity.attributes import WORDS as KEYSTONE
from deuteron.rules.image.attributes import CREATE_WORDS as GLANCE
from deuteron.rules.network.attributes import WORDS as NEUTRON

THING = Resource(
    service="test",
    name="thing",
    collection="things",
    description="A thing.",
    attributes=(
        Attribute("id", Text(), "the id"),
        Attribute("status", Text(), "the status"),
        Attribute("size", Integer(), "how big", default=REQUIRED, create=True),
        Attribute("name", Text(), "the name", default=REQUIRED, create=True, update=True),
        Attribute("note", Text(nullable=True), "a note", create=True, update=True),
        Attribute("tags", ListOf(Text()), "tags", default=[], create=True, update=True),
    ),
)


class Refused(Exception):
    pass


def refused(problem: str) -> Any:
    def say(*about: Any) -> Refused:
        names = about[-1] if isinstance(about[-1], Sequence) and not isinstance(about[-1], str) else [about[0]]
        return Refused(problem, [each.name if isinstance(each, Attribute) else each for each in names])

    return say


PLAIN = Words(
    unknown=refused("unknown"), read_only=refused("read_only"), missing=refused("missing"), invalid=refused("invalid")
)
STRICT = replace(PLAIN, missing_first=True, keeps_silence=True)


@pytest.mark.parametrize(
    ("body", "plain", "strict"),
    [
        ({"b": 1, "a": 2, "id": "x"}, ("unknown", ["b", "a"]), ("unknown", ["b", "a"])),
        ({"status": "x", "id": "x", "size": "?"}, ("read_only", ["id", "status"]), ("read_only", ["id", "status"])),
        ({"size": "?"}, ("invalid", ["size"]), ("missing", ["name"])),
        ({"name": 5}, ("missing", ["size"]), ("missing", ["size"])),
        ({"size": 1, "name": "x", "tags": 1, "note": 5}, ("invalid", ["note"]), ("invalid", ["note"])),
    ],
)
def test_the_first_problem_of_a_create_body_is_refused(
    body: dict[str, Any], plain: tuple[str, list[str]], strict: tuple[str, list[str]]
) -> None:
    for words, expected in ((PLAIN, plain), (STRICT, strict)):
        with pytest.raises(Refused) as raised:
            decode_create(THING, body, words)

        assert raised.value.args == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"size": 1, "x": 1}, ("unknown", ["x"])),
        ({"size": 1, "name": 5, "id": "x"}, ("read_only", ["size", "id"])),
        ({"tags": 1, "name": 5}, ("invalid", ["tags"])),
    ],
)
def test_the_first_problem_of_an_update_body_is_refused(body: dict[str, Any], expected: tuple[str, list[str]]) -> None:
    with pytest.raises(Refused) as raised:
        decode_update(THING, body, PLAIN)

    assert raised.value.args == expected


def test_silence_is_a_default_and_null_is_a_value() -> None:
    body = {"size": 1, "name": "x"}

    assert decode_create(THING, body, PLAIN) == {**body, "note": None, "tags": []}
    assert decode_create(THING, body, STRICT) == {**body, "tags": []}
    assert decode_create(THING, {**body, "note": None}, STRICT) == {**body, "note": None, "tags": []}
    assert decode_update(THING, {"note": None}, STRICT) == {"note": None}


def test_a_default_list_belongs_to_one_body() -> None:
    first = decode_create(THING, {"size": 1, "name": "x"}, PLAIN)
    first["tags"].append("mine")

    assert decode_create(THING, {"size": 1, "name": "x"}, PLAIN)["tags"] == []


@pytest.mark.parametrize(
    ("words", "missing", "invalid"),
    [
        (KEYSTONE, "'name' is a required property", "Invalid input for field 'name': "),
        (GLANCE, "Provided object does not match schema 'image': ", "Provided object does not match schema 'image': "),
        (NEUTRON, "Failed to parse request. Required attribute 'name' not specified", "Invalid input for name. "),
    ],
)
def test_each_service_has_its_own_words(words: Words, missing: str, invalid: str) -> None:
    with pytest.raises(BadRequest) as raised:
        decode_create(THING, {"size": 1}, words)
    assert str(raised.value).startswith(missing)

    with pytest.raises(BadRequest) as raised:
        decode_value(THING.by_name["name"], 5, words)
    assert str(raised.value).startswith(invalid)
