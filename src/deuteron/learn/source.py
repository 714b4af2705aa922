"""What a chapter's source says: prose as it stands, and blocks of commands and pictures to be filled in.

A source is Markdown. It begins with a comment that names its cloud and the observables that it shows:

    <!-- cloud: vlan; shows: OV-01 OV-08 -->

Fenced blocks whose first word is one of these are run; each line of a block is a command, and goes on in the next
where it ends in a backslash:

    openstack [WHO]    of the official client, by user demo, or by another
    on HOST            in a shell of a host
    deuteron           of the program itself
    picture KIND OF    drawn: a `topology` of a project or of `all`, or the `devices` of a host

After these stand options:

    until=REGEX    runs the command again until it prints that
    keep=REGEX     shows only lines that match
    cut=REGEX      leaves out lines that match
    only=REGEX     shows only what matches of a line, or its group
    end=REGEX      shows nothing from the first line on that matches
    bridge=NAME    shows one bridge of `ovs-vsctl show`
    alt=TEXT       says what a picture shows
    sorted         sorts lines
    fails          the command is to fail
    silent         shows nothing
"""

from __future__ import annotations

import re
import shlex
from typing import Literal

import msgspec

KINDS = ("openstack", "on", "deuteron", "picture")
FLAGS = ("sorted", "fails", "silent")
VALUES = ("until", "keep", "cut", "only", "bridge", "end", "alt")


class SourceError(Exception):
    """A chapter that cannot be read: which, in which line, and why."""


class Block(msgspec.Struct, frozen=True):
    """Commands of one kind. `words` are what follows the kind: a user, a host, what is drawn."""

    kind: Literal["openstack", "on", "deuteron", "picture"]
    words: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    until: str | None = None
    keep: str | None = None
    cut: str | None = None
    only: str | None = None
    bridge: str | None = None
    end: str | None = None
    alt: str | None = None


class Chapter(msgspec.Struct, frozen=True):
    """`name` is the file's without its suffix; `shows` are observables of the seeds."""

    name: str
    title: str
    cloud: str
    shows: tuple[str, ...]
    parts: tuple[str | Block, ...]


def parse(name: str, text: str) -> Chapter:
    """The chapter of this source. Raises: SourceError."""
    found = re.match(r"<!-- cloud: ([\w-]+); shows:((?: [A-Z]{2}-\d\d)*) -->\n+# (.+)\n", text)
    if found is None:
        raise SourceError(f"{name}: it does not begin with its cloud, what it shows, and a title")
    parts: list[str | Block] = []
    prose: list[str] = []
    lines = iter(text[found.start(3) - 2 :].splitlines())
    for line in lines:
        opened = re.fullmatch(r"```(\w+)( .*)?", line)
        if opened is None or opened[1] not in KINDS:
            prose.append(line)
            continue
        inside = []
        for each in lines:
            if each == "```":
                break
            inside.append(each)
        else:
            raise SourceError(f"{name}: a block is not closed: {line}")
        parts += ["\n".join(prose).strip("\n"), _block(name, line.removeprefix("```"), inside)]
        prose = []
    parts.append("\n".join(prose).strip("\n"))
    return Chapter(name, found[3], found[1], tuple(found[2].split()), tuple(part for part in parts if part))


def _block(name: str, head: str, inside: list[str]) -> Block:
    try:
        kind, *rest = shlex.split(head)
    except ValueError as error:
        raise SourceError(f"{name}: {head}: {error}") from None
    words, flags, values = [], set(), {}
    for word in rest:
        option, equals, value = word.partition("=")
        if equals and option in VALUES:
            values[option] = value
        elif word in FLAGS:
            flags.add(word)
        elif equals:
            raise SourceError(f"{name}: {head}: no option {option}")
        else:
            words.append(word)
    commands = re.sub(r" *\\\n *", " ", "\n".join(inside)).splitlines()
    return msgspec.convert(
        {
            "kind": kind,
            "words": words,
            "commands": [each for each in commands if each.strip()],
            "flags": flags,
            **values,
        },
        Block,
    )
