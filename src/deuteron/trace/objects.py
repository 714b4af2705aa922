"""The cloud's objects as causes speak of them: what they are called, where they are, and which of them are down."""

from __future__ import annotations

import msgspec

from deuteron.model.intent import IntentPort
from deuteron.trace.catalog import Catalog
from deuteron.trace.world import Machine, World


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """The one thing that stops the packet."""

    kind: str
    """A stable word: `security-group-ingress`, `port-down`, `no-route` …"""
    text: str
    hint: str = ""
    """What would let it pass."""
    about: tuple[str, str] | None = None


class Objects:
    """A world with the names of its objects."""

    def __init__(self, world: World, catalog: Catalog) -> None:
        self.world = world
        self.catalog = catalog

    def port(self, port_id: str) -> str:
        """The port with its server, as people know it."""
        row = self.catalog.get("port", port_id)
        words = self.catalog.called("port", port_id)
        if row is not None and row.get("device_id") and self.catalog.get("server", row["device_id"]) is not None:
            words += f" of server {self.catalog.name('server', row['device_id'])}"
        return words

    def placed(self, port_id: str | None) -> tuple[Machine, IntentPort] | None:
        return self.world.place_of(port_id) if port_id is not None else None

    def down(self, port_id: str) -> Cause | None:
        """What is administratively down, or plugged in nowhere."""
        placed = self.placed(port_id)
        row = self.catalog.get("port", port_id)
        if placed is None:
            if row is None:
                return None
            return Cause(
                "port-unbound",
                f"{self.port(port_id)} is plugged in on no host: {row.get('binding:vif_type') or 'it is unbound'}",
                "give it to a server, or set its binding:host_id",
                ("port", port_id),
            )
        _, port = placed
        if not port.admin_state_up and (row is None or not row.get("admin_state_up")):
            return Cause(
                "port-down",
                f"{self.port(port_id)} is down (admin_state_up is false)",
                f"openstack port set --enable {port_id}",
                ("port", port_id),
            )
        if not port.admin_state_up:
            return Cause(
                "port-not-here",
                f"{self.port(port_id)} is not bound to the host where its guest is awaited",
                "wait for the move of its server to end",
                ("port", port_id),
            )
        return self.router_down(port.device_id) if port.device_owner.startswith("network:router") else None

    def router_down(self, router_id: str) -> Cause | None:
        for machine in self.world.machines.values():
            router = machine.intent.routers.get(router_id)
            if router is not None and not router.admin_state_up:
                return Cause(
                    "router-down",
                    f"{self.catalog.called('router', router_id)} is down (admin_state_up is false)",
                    f"openstack router set --enable {router_id}",
                    ("router", router_id),
                )
        return None
