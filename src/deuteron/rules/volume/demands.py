"""What a type demands of a back end: its extra specs against what the back end tells of itself.

A key with a scope of its own, but for `capabilities:`, is for the driver and demands nothing here.

Source: cinder/scheduler/filters/capabilities_filter.py, extra_specs_ops.py.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final

_SCOPE: Final = "capabilities"
_TRUE: Final = frozenset({"1", "t", "true", "on", "y", "yes"})


def are_met(figures: Mapping[str, object], specs: Mapping[str, object]) -> bool:
    """Whether what the back end tells is what every spec demands."""
    return all(_is_met(figures, key, demand) for key, demand in specs.items())


def _is_met(figures: Mapping[str, object], key: str, demand: object) -> bool:
    scope, colon, name = key.partition(":")
    if colon and scope != _SCOPE:
        return True
    name = name if colon else key
    return name in figures and _fits(figures[name], demand)


def _fits(value: object, demand: object) -> bool:
    if demand is None or value is None:
        return value is demand
    words = str(demand).split()
    if words and words[0] == "<or>":
        return value in words[1::2]
    compare = _COMPARISONS.get(words[0]) if words else None
    if compare is None:
        return bool(value == demand)
    try:
        return len(words) > 1 and compare(value, words[1])
    except ValueError:  # a text is no number
        return False


def _is_true(value: object) -> bool:
    return str(value).strip().lower() in _TRUE


def _number(compare: Callable[[float, float], bool]) -> Callable[[object, str], bool]:
    def as_numbers(value: object, word: str) -> bool:
        given = value if isinstance(value, int | float | str) else str(value)
        return compare(float(given), float(word))

    return as_numbers


def _text(compare: Callable[[str, str], bool]) -> Callable[[object, str], bool]:
    return lambda value, word: isinstance(value, str) and compare(value, word)


_COMPARISONS: Final[Mapping[str, Callable[[object, str], bool]]] = {
    "=": _number(operator.ge),
    "==": _number(operator.eq),
    "!=": _number(operator.ne),
    ">=": _number(operator.ge),
    "<=": _number(operator.le),
    "<in>": _text(operator.contains),
    "<is>": lambda value, word: _is_true(value) is _is_true(word),
    "s==": _text(operator.eq),
    "s!=": _text(operator.ne),
    "s<": _text(operator.lt),
    "s<=": _text(operator.le),
    "s>": _text(operator.gt),
    "s>=": _text(operator.ge),
}
