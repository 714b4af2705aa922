"""What there is to be shown, as the declarations and the routes say it, in the chapters of the page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from deuteron.api.network.service import NetworkService
from deuteron.model.network import RESOURCES
from deuteron.model.resource import Attribute, Resource
from tests.coverage.watch import REFUSED, named


@dataclass(frozen=True)
class Row:
    """One line of a table: what it is called, what is said of it, and the facts that a test has to show."""

    name: str
    words: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Chapter:
    title: str
    words: str
    rows: tuple[Row, ...]


def chapters() -> list[Chapter]:
    """A chapter for each kind, in the order of the declarations, and one for the paths that are of no kind."""
    left = [f"{route.method} {named(route)}" for route in NetworkService().routes()]
    found = []
    # A nested path begins with that of its parent: the longer is looked for first.
    of_kind: dict[str, list[str]] = {}
    for resource in sorted(RESOURCES, key=lambda each: -len(each.path)):
        begins = [f"/{place}" for place in _places(resource)]
        mine = [each for each in left if any(_is_below(each.split(" ")[1], place) for place in begins)]
        left = [each for each in left if each not in mine]
        of_kind[resource.name] = mine
    for resource in RESOURCES:
        rows = [*_verbs(of_kind[resource.name]), *(_attribute(resource, each) for each in resource.attributes)]
        found.append(Chapter(f"{resource.plural}", resource.description, tuple(row for row in rows if row.facts)))
    found.append(Chapter("Other paths", "Lists that no table holds, and what is asked of the service.", _verbs(left)))
    return found


def _places(resource: Resource) -> list[str]:
    tagged = resource.collection.rpartition("/")[2]
    places = [resource.path, f"{tagged}/{{id}}/tags"]
    if resource.parent is not None and resource.parent.alias is not None:
        places.append(resource.parent.alias)
    return places


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _verbs(lines: list[str]) -> tuple[Row, ...]:
    """A line for each path: its verbs are what may be asked of it."""
    paths = groupby(sorted(lines, key=_path), key=_path)
    return tuple(
        Row(path, _refusals(verbs), tuple(verbs)) for path, verbs in ((path, [*found]) for path, found in paths)
    )


def _refusals(verbs: list[str]) -> str:
    refused = [verb for verb in verbs if verb in REFUSED]
    return f"{' and '.join(verb.split()[0] for verb in refused)} refused: {REFUSED[refused[0]]}" if refused else ""


def _path(line: str) -> str:
    return line.split(" ")[1]


def _attribute(resource: Resource, attribute: Attribute) -> Row:
    roles = {
        "create": attribute.create,
        "update": attribute.update,
        "show": attribute.read,
        "filter": attribute.filter and attribute.stored and attribute.read,
        "sort": attribute.sort and attribute.stored and attribute.read,
    }
    name = f"{resource.name}.{attribute.name}"
    facts = tuple(f"{name} {role}" for role, is_there in roles.items() if is_there)
    return Row(attribute.name, attribute.description, facts)
