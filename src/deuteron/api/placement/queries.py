"""Queries of Placement: resources, traits, aggregates and trees that somebody wants.

Source: placement/util.py `normalize_*`; api-ref "Resource providers".
"""

from __future__ import annotations

from typing import Final

from deuteron.api.call import Call
from deuteron.api.placement.shapes import is_like_uuid
from deuteron.model.codecs import whole_number
from deuteron.model.errors import BadRequest
from deuteron.rules.placement.inventories import MOST

_SHORT: Final = 200
Traits = tuple[tuple[frozenset[str], ...], frozenset[str]]
"""Sets of which one each is required, and those that are forbidden."""


def values(call: Call, key: str) -> list[str]:
    return [value for name, value in call.query if name == key]


def resources(text: str) -> dict[str, int]:
    """`VCPU:2,MEMORY_MB:1024`. Raises: BadRequest."""
    form = (
        "Badly formed resources parameter. Expected resources query string parameter in form: "
        "?resources=VCPU:2,MEMORY_MB:1024. Got: "
    )
    if not text.strip():
        raise BadRequest(f"{form}empty string.")
    found: dict[str, int] = {}
    for part in text.split(","):
        name, colon, said = part.partition(":")
        if not colon or ":" in said:
            raise BadRequest(f"{form}{part[:_SHORT]}.")
        amount = whole_number(said.strip().removeprefix("+"))
        if amount is None and said.strip().startswith("-") and whole_number(said.strip()[1:]) is not None:
            amount = 0
        if amount is None:
            raise BadRequest(
                f"Requested resource {name[:_SHORT]} expected positive integer amount. Got: {said[:_SHORT]}."
            )
        if amount < 1:
            raise BadRequest(f"Requested resource {name[:_SHORT]} requires amount >= 1. Got: {said.strip()[:_SHORT]}.")
        # More than any inventory can have is as good as one more than that.
        found[name] = min(amount, MOST + 1)
    return found


def traits(call: Call, key: str) -> Traits:
    """Of all values of the key from microversion 1.39 on, before of the last. Raises: BadRequest."""
    said = values(call, key)
    required: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for text in said if call.version >= 39 else said[-1:]:
        some, not_these = _traits(text, may_forbid=call.version >= 22, may_be_any=call.version >= 39)
        required += some
        forbidden |= not_these
    return tuple(required), frozenset(forbidden)


def plain_traits(text: str) -> Traits:
    """Without alternatives, as of roots. Raises: BadRequest."""
    required, forbidden = _traits(text, may_forbid=True, may_be_any=False)
    return tuple(required), frozenset(forbidden)


def _traits(text: str, *, may_forbid: bool, may_be_any: bool) -> tuple[list[frozenset[str]], set[str]]:
    bad = "Invalid query string parameters: "
    if text.startswith("in:"):
        example = "in:HW_CPU_X86_VMX,CUSTOM_MAGIC"
        if not may_be_any:
            raise BadRequest(
                f"{bad}The format '{example}' only supported since microversion 1.39. Got: {text[:_SHORT]}"
            )
        names = [name.strip() for name in text[3:].split(",")]
        if not all(names):
            raise BadRequest(
                f"{bad}Expected 'required' parameter value of the form: {example}. Got an empty trait in: "
                f"{text[:_SHORT]}"
            )
        if any(name.startswith("!") for name in names):
            raise BadRequest(f"{bad}The format '{example}' does not support forbidden traits. Got: {text[:_SHORT]}")
        return [frozenset(names)], set()
    names = [name.strip() for name in text.split(",")]
    forbidden = {name.lstrip("!") for name in names if name.startswith("!")}
    example = f"HW_CPU_X86_VMX,{'!' if may_forbid else ''}CUSTOM_MAGIC"
    beginning = f"{bad}Expected 'required' parameter value of the form: "
    if not all(names) or not all(forbidden):
        raise BadRequest(f"{beginning}{example}. Got an empty trait in: {text[:_SHORT]}")
    if forbidden and not may_forbid:
        raise BadRequest(f"{beginning}{example}. Got: {text[:_SHORT]}")
    return [frozenset((name,)) for name in names if not name.startswith("!")], forbidden


def aggregates(call: Call, key: str) -> Traits:
    """Sets of aggregates of which one each is required, and those that are forbidden. Raises: BadRequest."""
    said = values(call, key)
    if call.version < 24 and len(said) > 1:
        raise BadRequest(f"Multiple {key} parameters are not supported")
    required: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for text in said:
        if "," in text and not text.startswith(("in:", "!in:")):
            raise BadRequest(
                "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword using the valid "
                f"microversion. Got: {text[:_SHORT]}"
            )
        plain = text.removeprefix("!")
        ids = frozenset(plain.removeprefix("in:").split(","))
        for each in ids:
            if not is_like_uuid(each):
                raise BadRequest(
                    "Invalid query string parameters: Expected 'member_of' parameter to contain valid UUID(s). Got: "
                    f"{each[:_SHORT]}"
                )
        if plain == text:
            required.append(ids)
        elif call.version < 32:
            raise BadRequest(f"Forbidden {key} parameters are not supported in the specified microversion")
        else:
            forbidden |= ids
    return tuple(required), frozenset(forbidden)


def tree(text: str) -> str:
    """Raises: BadRequest."""
    if not is_like_uuid(text.strip()):
        raise BadRequest(
            "Invalid query string parameters: Expected 'in_tree' parameter to be a format of uuid. Got: "
            f"{text[:_SHORT]}"
        )
    return text.strip()
