"""The mark of a LUN that guests have: which, each with its host and folder there; two while a guest changes hosts."""

from __future__ import annotations

from uuid import UUID


def held_by(volume_id: str, mark: str) -> list[str]:
    """Who has the volume, each a host and a folder of it.

    A clone may have inherited the mark of its origin, which names that.
    """
    before, *held = f" {mark}".split(f" {UUID(volume_id)} ")
    return [] if before else held


def marking(volume_id: str, held: list[str]) -> str:
    """The mark that says so."""
    return " ".join(f"{UUID(volume_id)} {each}" for each in held)


def host_of(holder: str) -> str:
    return holder.partition(" ")[0]
