"""Whether two services gave the same answer to the same request: status, keys, values, kind of error.

What a service makes up by itself cannot be the same: ids, MAC addresses, addresses that nobody asked for, times. An id
of one side stands for one id of the other, from the first answer that shows both on (`Twins`), so that an answer about
the wrong object is a difference as well. A time is like any other time.

Texts are not compared: messages of errors and descriptions of extensions are each service's own words.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_MADE_UP = re.compile(
    rf"(?P<id>{_UUID}|\b[0-9a-f]{{32}}\b)"
    r"|(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:Z|\.\d+)?)"
    r"|(?P<mac>\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b)"
    r"|(?P<base>https?://[\w.]+(?::\d+)?(?:/network)?(?=/))"
    r"|(?P<host>\bhost(?:-[0-9a-f]*)+)"
    r"|(?P<address>\b\d{1,3}(?:\.\d{1,3}){3}\b(?!/)|\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:./]))"
)
_ID = re.compile(rf"{_UUID}|[0-9a-f]{{32}}")
_TEXTS = re.compile(r"NeutronError\.(message|detail)|error\.message|extensions?\..*description|extension\.description")
_MARKER = re.compile(r"\bmarker=[^&]*")
MISSING = "(not there)"


@dataclass(frozen=True)
class Answer:
    """Of one side. `body` is decoded; None where there is none."""

    status: int
    body: Any


@dataclass(frozen=True)
class Difference:
    """One place of an answer at which the two differ: dotted names, `*` for any item of a list."""

    place: str
    theirs: Any
    ours: Any

    @property
    def told(self) -> tuple[str, str]:
        """What is there and what is here, each in a line."""
        return _short(self.theirs), _short(self.ours)

    def __str__(self) -> str:
        return "{}: {} there, {} here".format(self.place, *self.told)


@dataclass
class Twins:
    """What each side made up, by what the other made up for the same."""

    asked: set[str] = field(default_factory=set)
    """Addresses that the request names: they are no service's own choice."""
    _ours: dict[str, str] = field(default_factory=dict)
    _theirs: dict[str, str] = field(default_factory=dict)

    def pair(self, theirs: str, ours: str) -> bool:
        """Whether they stand for each other; from now on, where neither is known."""
        if theirs not in self._ours and ours not in self._theirs:
            self._ours[theirs], self._theirs[ours] = ours, theirs
        return self._ours.get(theirs) == ours

    def are(self, theirs: str, ours: str) -> bool:
        """Whether they are known to stand for each other."""
        return self._ours.get(theirs) == ours

    def knows(self, theirs: str, ours: str) -> bool:
        return theirs in self._ours or ours in self._theirs

    def here(self, value: Any) -> Any:
        """What was sent there, in our names."""
        if isinstance(value, str):
            return _MADE_UP.sub(lambda found: self._ours.get(found[0], found[0]), value)
        if isinstance(value, dict):
            return {self.here(name): self.here(item) for name, item in value.items()}
        return [self.here(item) for item in value] if isinstance(value, list) else value

    def asking(self, *sent: Any) -> None:
        """Remember the addresses that the next request names."""
        told = [text if isinstance(text, str) else json.dumps(text) for text in sent]
        self.asked = {found["address"] for text in told for found in _MADE_UP.finditer(text) if found["address"]}

    def copy(self) -> Twins:
        return Twins(self.asked, dict(self._ours), dict(self._theirs))


def differences(theirs: Answer, ours: Answer, twins: Twins, order: Sequence[str] = ()) -> list[Difference]:
    """All places at which the answers differ; the statuses, when these do.

    `order`: the keys that the request asked to sort by. Else lists are sets: Neutron's order is that of ids.
    """
    if theirs.status != ours.status:
        return [Difference("status", _told(theirs), _told(ours))]
    if order and _is_drawn(order[0]) and _is_page(theirs.body):
        return list(_compare("", _outline(theirs.body), _outline(ours.body), twins))
    found = list(_compare("", theirs.body, ours.body, twins))
    if keys := list(takewhile(lambda key: not _is_drawn(key), order)):
        found += _out_of_order(theirs.body, ours.body, keys, twins)
    return found


def _is_drawn(key: str) -> bool:
    """Whether what is sorted by is made up by each service: from there on the order is anything."""
    return (key == "id" or key.endswith("_id")) and key not in ("project_id", "tenant_id")


def _is_page(body: Any) -> bool:
    return isinstance(body, dict) and any(name.endswith("_links") for name in body)


def _outline(body: Any) -> Any:
    """Of a page of what comes first by its id, which is anything: how many items with which keys, and which links."""
    return {
        name: [each["rel"] if name.endswith("_links") else ",".join(sorted(each)) for each in items]
        for name, items in body.items()
    }


def _out_of_order(theirs: Any, ours: Any, keys: Sequence[str], twins: Twins) -> Iterator[Difference]:
    for name, items in theirs.items():
        if isinstance(items, list) and not name.endswith("_links"):
            one = [[twins.here(item.get(key)) for key in keys] for item in items]
            other = [[item.get(key) for key in keys] for item in ours.get(name, ())]
            if one != other and sorted(map(str, one)) == sorted(map(str, other)):
                yield Difference(f"{name}.* order", one, other)


def _told(answer: Answer) -> str:
    error = answer.body.get("NeutronError") if isinstance(answer.body, dict) else None
    kind = f" {error['type']}" if isinstance(error, dict) else ""
    return f"{answer.status}{kind}"


def _compare(place: str, theirs: Any, ours: Any, twins: Twins) -> Iterator[Difference]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted(theirs.keys() | ours.keys()):
            below = f"{place}.{name}".removeprefix(".")
            if name not in theirs or name not in ours:
                yield Difference(below, theirs.get(name, MISSING), ours.get(name, MISSING))
            elif below.endswith("_links.*.href"):
                # Which is first and last of a page by ids is anything.
                yield from _compare(below, *(_MARKER.sub("marker=", each[name]) for each in (theirs, ours)), twins)
            elif not _TEXTS.fullmatch(below):
                yield from _compare(below, theirs[name], ours[name], twins)
    elif isinstance(theirs, list) and isinstance(ours, list):
        yield from _lists(place, theirs, ours, twins)
    elif isinstance(theirs, str) and isinstance(ours, str):
        # The gateway of a subnet follows from its prefix: no service chooses it.
        if not _same_text(theirs, ours, twins) or (place.endswith("gateway_ip") and theirs != ours):
            yield Difference(place, theirs, ours)
    elif type(theirs) is not type(ours) or theirs != ours:
        yield Difference(place, theirs, ours)


def _lists(place: str, theirs: Sequence[Any], ours: Sequence[Any], twins: Twins) -> Iterator[Difference]:
    left, lost = list(ours), []
    doubtful: set[int] = set()  # those that more than one may be
    settled: set[int] = set()
    guessed: set[int] = set()  # those of which one went to one that may be another's
    for one in theirs:
        found = next((number for number, other in enumerate(left) if _is_twin(one, other, twins)), None)
        if found is None:
            lost.append(one)
        else:
            yield from _compare(_item(place, one), one, left.pop(found), twins)
    # What nobody knew before: each to the one that it is most like; of two that are as like it, to none for good, and
    # when the others, which may tell what it leads to, have theirs.
    for one, is_last in (*((one, False) for one in lost), *((one, True) for one in lost)):
        if id(one) in settled:
            continue
        near = sorted(
            (_distance(one, other, twins), number) for number, other in enumerate(left) if _may_be(one, other, twins)
        )
        alike = [id(left[number]) for distance, number in near if distance == near[0][0]]
        if len(alike) > 1 and not is_last:
            doubtful.update(alike)
            continue
        settled.add(id(one))
        if near:
            if len(alike) > 1:
                guessed.update(alike)
            is_sure = not guessed & set(alike) and (is_last or not doubtful & set(alike))
            other = left.pop(near[0][1])
            yield from _compare(_item(place, one), one, other, twins if is_sure else twins.copy())
        else:
            yield Difference(_item(place, one), one, MISSING)
    for other in left:
        yield Difference(_item(place, other), MISSING, other)


def _item(place: str, item: Any) -> str:
    """The place of an item: an extension and an agent have names of their own, others are any."""
    name = _own_name(item)
    return f"{place}.{name or '*'}"


def _own_name(item: Any) -> str | None:
    return item.get("alias") or item.get("binary") if isinstance(item, dict) else None


def _is_twin(one: Any, other: Any, twins: Twins) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return bool(twins.here(one) == other)
    if "id" in one and "id" in other and twins.knows(one["id"], other["id"]):
        return twins.are(one["id"], other["id"])
    if name := _own_name(one):
        return name == _own_name(other)
    if "id" in one and "id" in other:
        return False
    return bool(twins.here(one) == other)


def _may_be(one: Any, other: Any, twins: Twins) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return not (isinstance(one, str) and isinstance(other, str)) or _same_text(one, other, twins.copy())
    return _own_name(one) == _own_name(other) and not (
        "id" in one and "id" in other and twins.knows(str(one["id"]), str(other["id"]))
    )


def _distance(one: Any, other: Any, twins: Twins) -> tuple[int, int]:
    """How many differ of the ids that it holds, which say more, and of all places."""
    found = list(_compare("", one, other, twins.copy()))
    return sum(isinstance(each.theirs, str) and bool(_ID.fullmatch(each.theirs)) for each in found), len(found)


def _same_text(theirs: str, ours: str, twins: Twins) -> bool:
    if theirs == ours and not _MADE_UP.search(theirs):
        return True
    one, other = list(_MADE_UP.finditer(theirs)), list(_MADE_UP.finditer(ours))
    if _MADE_UP.sub("", theirs) != _MADE_UP.sub("", ours) or len(one) != len(other):
        return False
    return all(_same_word(a, b, twins) for a, b in zip(one, other, strict=True))


def _same_word(one: re.Match[str], other: re.Match[str], twins: Twins) -> bool:
    kind = one.lastgroup
    if kind != other.lastgroup:
        return False
    if kind in ("time", "base", "host"):
        return True  # a host's name is that of the address beside it
    if kind == "address":
        if one[0] == other[0]:
            return True
        # Which free one is taken is each service's own choice; one that was asked for is not.
        return one[0] not in twins.asked and _family(one[0]) == _family(other[0])
    return one[0] == other[0] or twins.pair(one[0], other[0])


def _family(text: str) -> int:
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return 0


def _short(value: Any) -> str:
    """A value in a line, without what is made up: the same each time."""
    text = value if value is MISSING else json.dumps(value, sort_keys=True)
    text = _MADE_UP.sub(lambda found: f"({found.lastgroup})", text)
    return text if len(text) <= 80 else f"{text[:77]}..."
