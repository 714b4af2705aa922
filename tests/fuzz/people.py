"""Who sends the requests: people of each role, and some whom the cloud does not know.

What is another project's is for most of them as if it were not there, so that each project has a room: things of its
own for its people's requests to name.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.world import World, filled, log_in, shelf

HOMES = {"admin": "admin", "demo": "demo", "manager": "demo", "reader": "demo", "stranger": "elsewhere"}
"""Each user's project. `demo` and `stranger` are members there."""
_SHARES = {"admin": 56, "demo": 16, "manager": 6, "reader": 7, "stranger": 6, "nobody": 4, "broken": 5}
"""How often each asks. `nobody` has no token, `broken` one that is none."""
_MAKERS = ("demo", "stranger")
"""Those who furnish the rooms."""
_ROOM = (
    "network", "subnet", "port", "subport", "trunk_parent", "trunk", "router", "floatingip", "security_group",
    "security_group_rule", "address_scope", "subnetpool", "address_group", "keypair", "server_group", "image", "server",
    "volume", "volume_snapshot", "backup", "offered_volume", "volume_transfer",
)  # fmt: skip
_IMAGE = "/image/v2/images/{}/file"


async def invite(here: World) -> None:
    """Users of each role beside those that every cloud has, and their rooms."""
    identity = "/identity/v3"
    made = await here.call("POST", f"{identity}/projects", {"project": {"name": "elsewhere"}})
    here.owners["elsewhere project"] = made.json["project"]["id"]
    roles = {each["name"]: each["id"] for each in (await here.call("GET", f"{identity}/roles")).json["roles"]}
    for name, role in (("manager", "manager"), ("reader", "reader"), ("stranger", "member")):
        user = {"name": name, "password": f"{name}-secret"}
        id = (await here.call("POST", f"{identity}/users", {"user": user})).json["user"]["id"]
        project = here.owners[f"{HOMES[name]} project"]
        granted = await here.call("PUT", f"{identity}/projects/{project}/users/{id}/roles/{roles[role]}")
        assert granted.status == 204, granted.body
    await welcome(here)


async def welcome(here: World) -> None:
    """Everybody has a token, and what was taken away from the rooms is there again."""
    for user, project in HOMES.items():
        await log_in(here, user, project)
    for user in _MAKERS:
        await _settle(here, user)


async def _settle(here: World, user: str) -> None:
    """One of each kind that a member may make; of what cannot be made just now, there is none for a while."""
    room = here.rooms.setdefault(HOMES[user], {})
    for kind in _ROOM:
        show, path, body = shelf(kind)
        if kind in room and (await here.call("GET", filled(show, room).format(room[kind]), user=user)).status == 200:
            continue
        room.pop(kind, None)
        here.made += 1
        names = {**here.owners, **here.ids, **room, "made": str(here.made)}
        answer = await here.call("POST", filled(path, names), json.loads(filled(json.dumps(body), names)), user)
        if answer.status not in (200, 201, 202):
            continue
        found = answer.json
        while "id" not in found and len(found) == 1:
            (found,) = found.values()
        room[kind] = str(found.get("id") or found["name"])
        if kind == "image":
            await here.call("PUT", _IMAGE.format(room[kind]), b"disk", user, content_type="application/octet-stream")


def somebody(rng: random.Random) -> str:
    (name,) = rng.choices(list(_SHARES), list(_SHARES.values()))
    return name


def token_of(rng: random.Random, here: World, who: str, damage: Callable[[random.Random, bytes], bytes]) -> bytes:
    """What such a one sends as its token; empty of somebody without."""
    good = here.tokens.get(who, "").encode()
    if who != "broken":
        return good
    good = here.tokens["admin"].encode()
    return rng.choice((b"x", good[:-1], good + b"A", damage(rng, good), good.lower(), b"\xff" * 200, b"gAAAAA=="))


def plain(value: Any) -> Any:
    """The body without what only administrators may say."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if ":" not in name and name not in _PRIVILEGED}
    return [plain(item) for item in value] if isinstance(value, list) else value


_PRIVILEGED = frozenset({
    "shared", "is_default", "mac_address", "device_owner", "ha", "distributed", "enable_snat", "external_fixed_ips",
    "availability_zone", "segments", "user_id", "visibility",
})  # fmt: skip
