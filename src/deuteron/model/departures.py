"""What a host carries that has to be elsewhere before it leaves the cloud, as the cloud's owner is told."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Named(NamedTuple):
    """An object, and what people call it."""

    id: str
    name: str


class Carried(msgspec.Struct, frozen=True):
    """By name and id. A server that is on its way from the host, or may come back to it, is one of its servers."""

    servers: tuple[Named, ...] = ()
    volumes: tuple[Named, ...] = ()
    backups: tuple[Named, ...] = ()
    routers: tuple[Named, ...] = ()
    networks: tuple[Named, ...] = ()
    """Those whose DHCP it serves."""

    def words(self) -> tuple[str, ...]:
        """Each kind that there is any of, as "2 servers (vm1, vm2)"; more than five are counted."""
        kinds = zip(self.__struct_fields__, msgspec.structs.astuple(self), strict=True)
        return tuple(_words(kind, found) for kind, found in kinds if found)


def _words(kind: str, found: tuple[Named, ...]) -> str:
    names = ", ".join(one.name or one.id for one in found[:5]) + (", …" if len(found) > 5 else "")
    what = kind.removesuffix("s") if len(found) == 1 else kind
    return f"{'DHCP of ' if kind == 'networks' else ''}{len(found)} {what} ({names})"
