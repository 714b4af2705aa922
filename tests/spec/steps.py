"""What the conversations of all services have in common: words filled in, and what an answer is compared with.

A step is `do: METHOD path`, with `as` who asks (`nobody` sends no token), `body` or `raw`, and what is expected:

    status      200 unless told
    error       type and message of a Neutron error
    says        words of the message of any service's error
    expect      dotted paths and values: a number is a place in a list, `*` each of it, `#` how many, `~name` one that
                a list holds, and a name may hold dots and colons
    keys        the exact keys of the answered object
    absent      dotted paths that lead nowhere
    save        names for later steps (`$name`) and dotted paths
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from tests.coverage import watch


class Answer(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def asked(self) -> str: ...


def check(told: str, step: dict[str, Any], answer: Answer, names: dict[str, Any]) -> None:
    """Raises: AssertionError, which tells the step and the answer."""
    assert answer.status == step.get("status", 200), f"{told}: {answer.status} {answer.text[:1000]}"
    if "error" in step:
        kind, message = step["error"]
        error = _body(answer)["NeutronError"]
        assert error["type"] == kind, f"{told}: {error}"
        assert error["message"] == filled(message, names), told
        assert set(error) >= {"type", "message", "detail"}, told
    if "says" in step:
        assert filled(step["says"], names) in answer.text.replace('\\"', '"'), f"{told}: {answer.text}"
    for place, value in step.get("expect", {}).items():
        place, wanted = str(filled(place, names)), filled(value, names)
        found = at(_body(answer), place)
        assert found == wanted, f"{told}: {place} is {found!r} in {answer.text}"
    if "keys" in step:
        (shown,) = _body(answer).values()
        assert sorted(shown) == sorted(step["keys"]), told
    for place in step.get("absent", ()):
        try:
            found = at(_body(answer), str(filled(place, names)))
        except (KeyError, IndexError):
            continue
        raise AssertionError(f"{told}: {place} is {found!r}")


def saved(step: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """What later steps know by name."""
    found = {name: at(_body(answer), place) for name, place in step.get("save", {}).items()}
    return found | {name: answer.headers[header] for name, header in step.get("save_header", {}).items()}


def filled(value: Any, names: dict[str, Any]) -> Any:
    if isinstance(value, str):
        whole = re.fullmatch(r"\$([a-z0-9_]+)", value)
        if whole and whole.group(1) in names:
            return names[whole.group(1)]
        return re.sub(r"\$([a-z0-9_]+)", lambda found: str(names.get(found.group(1), found.group(0))), value)
    if isinstance(value, dict):
        return {name: filled(item, names) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    return value


def _body(answer: Answer) -> Any:
    return watch.read(answer.asked, answer.text.encode())


def at(body: Any, place: str) -> Any:
    """The value at a dotted path. Raises: KeyError, IndexError where it leads nowhere."""
    for number, part in enumerate(parts := place.split(".")):
        rest = ".".join(parts[number:])
        if isinstance(body, dict) and rest in body:  # a name with dots in it
            return body[rest]
        if part == "#":
            return len(body)
        if part == "*":
            return [at(item, ".".join(parts[number + 1 :])) if parts[number + 1 :] else item for item in body]
        if part.startswith("~"):
            return rest[1:] in (item if isinstance(item, str) else item.get("name") for item in body)
        body = body[int(part)] if isinstance(body, list) else body[part]
    return body
