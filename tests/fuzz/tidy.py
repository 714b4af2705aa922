"""Takes away what requests made, so that the cloud is as large as it was and its memory can be compared."""

from __future__ import annotations

from typing import Any

from deuteron.model.network import RESOURCES
from tests.fuzz.people import welcome
from tests.fuzz.world import LATER, World, furnish, is_furniture

_I, _N, _C, _G, _V = "/identity/v3", "/network/v2.0", "/compute/v2.1", "/image/v2", "/volume/v3"
_PLACES = (
    (_C + "/servers", "all_tenants=1"), (_C + "/os-server-groups", "all_projects=1"), (_C + "/os-keypairs", ""),
    (_C + "/flavors", "is_public=none"), (_G + "/images", "limit=1000"),
    *((f"{_V}/{name}", "all_tenants=1") for name in (
        "os-volume-transfer", "backups", "group_snapshots", "groups", "snapshots", "volumes",
    )),
    (_V + "/types", "is_public=None"), (_V + "/qos-specs", ""),
    *((f"{_N}/{kind.path}", "") for kind in reversed(RESOURCES) if kind.parent is None),
    *((f"{_I}/{name}", "") for name in (
        "OS-EP-FILTER/endpoint_groups", "limits", "registered_limits", "OS-TRUST/trusts",
        "users/{admin}/application_credentials", "users/{admin}/access_rules", "credentials", "endpoints", "services",
        "groups", "users", "roles", "domains", "projects", "regions",
    )),
)  # fmt: skip
"""Where the lists are, in an order in which most of what is in use goes after its user."""


class Tidy:
    """Remembers what is there but for what the tests made."""

    def __init__(self, here: World) -> None:
        self._here = here
        self._first: set[str] = set()

    async def remember(self) -> Tidy:
        for place in _PLACES:
            self._first |= {_id(item) for item in await self._list(*place)}
        rooms = (kept for room in self._here.rooms.values() for kept in room.values())
        self._first -= {*rooms, *(id for kind, id in self._here.ids.items() if is_furniture(kind))}
        return self

    async def away(self) -> int:
        """How many objects it deleted. Then everything is made anew that the tests need. Raises: AssertionError."""
        gone, went = 0, 1
        while went:
            await self._loosen()
            went = 0
            for place, query in _PLACES:
                for item in await self._list(place, query):
                    if not self._stays(item):
                        went += await self._delete(place, item)
            gone += went
        # What is in use by what stays is still there, and is left alone.
        for kind in [kind for kind in self._here.ids if is_furniture(kind)]:
            del self._here.ids[kind]
        self._here.rooms.clear()
        await furnish(self._here)
        await welcome(self._here)
        return gone

    def _stays(self, item: Any) -> bool:
        return _id(item) in self._first

    async def _delete(self, place: str, item: Any) -> bool:
        where = f"{self._at(place)}/{_id(item)}"
        if place.endswith("/domains"):
            await self._here.call("PATCH", where, {"domain": {"enabled": False}})
        elif place.endswith("/images") and item["protected"]:
            change = [{"op": "replace", "path": "/protected", "value": False}]
            kind = "application/openstack-images-v2.1-json-patch"
            await self._here.call("PATCH", where, change, content_type=kind)
        elif place.endswith("/roles") and item.get("options", {}).get("immutable"):
            await self._here.call("PATCH", where, {"role": {"options": {"immutable": False}}})
        if place == f"{_V}/groups":
            goes = {"delete": {"delete-volumes": True}}
            return (await self._here.call("POST", f"{where}/action", goes, **LATER)).status < 300
        more = LATER if place.startswith(_V) else {}
        return (await self._here.call("DELETE", where, **more)).status < 300

    async def _loosen(self) -> None:
        """Take what goes away off its routers, and routers off what stays."""
        routers = [item for item in await self._list(f"{_N}/routers", "") if not self._stays(item)]
        for item in routers:
            bare = {"routes": [], "external_gateway_info": {}}
            await self._here.call("PUT", f"{_N}/routers/{item['id']}", {"router": bare})
        doomed = {item["id"] for item in routers}
        for port in await self._list(f"{_N}/ports", ""):
            on_router = port["device_owner"] == "network:router_interface"
            if on_router and (port["device_id"] in doomed or not self._stays(port)):
                path = f"{_N}/routers/{port['device_id']}/remove_router_interface"
                await self._here.call("PUT", path, {"port_id": port["id"]})

    async def _list(self, place: str, query: str) -> list[Any]:
        answer = await self._here.call("GET", f"{self._at(place)}?{query}", **(LATER if place.startswith(_V) else {}))
        assert answer.status == 200, (place, answer.body)
        found: list[Any] = next(value for value in answer.json.values() if isinstance(value, list))
        return found

    def _at(self, place: str) -> str:
        return place.format(admin=self._here.owners["admin user"])


def _id(item: Any) -> str:
    return str(item["keypair"]["name"] if "keypair" in item else item["id"])
