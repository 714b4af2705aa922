"""What a person means by an end: a server, port, router, floating IP, address, `NETWORK/ADDRESS`, or `outside`.

Names are looked up in the catalog; a word that several objects have is refused with what they are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from deuteron.model.outside import ExternalNetwork
from deuteron.net.plan import names
from deuteron.trace.catalog import Catalog, Row
from deuteron.trace.packet import network, within
from deuteron.trace.walk import End, NoSuchEnd
from deuteron.trace.world import World

OUTSIDE: Final = "outside"
_OWNERS: Final = (
    "network:router_interface",
    "network:router_gateway",
    "network:ha_router_replicated_interface",
    "network:router_interface_distributed",
)


class AmbiguousEnd(ValueError):
    """Several objects are called so."""

    def __init__(self, word: str, found: list[str]) -> None:
        super().__init__(f'"{word}" is {", and ".join(found)}')


def external_networks(catalog: Catalog) -> tuple[ExternalNetwork, ...]:
    """What `outside` answers for: gateways of external networks on a wire that no port has.

    As `rules.network.external` says it to the host `outside`; of networks with several segments, nothing.
    """
    found = []
    for row in catalog.all("network"):
        kind, wire = row.get("provider:network_type"), row.get("provider:physical_network")
        if row.get("router:external") and kind in ("flat", "vlan") and wire:
            gateways = tuple(
                f"{subnet['gateway_ip']}/{network(subnet['cidr']).prefixlen}"
                for subnet in catalog.subnets_of(row["id"])
                if subnet["gateway_ip"] and catalog.port_at(row["id"], subnet["gateway_ip"]) is None
            )
            found.append(ExternalNetwork(wire, row.get("provider:segmentation_id") or None, gateways))
    return tuple(found)


def ends(world: World, catalog: Catalog, source: str, destination: str) -> tuple[End, End]:
    """Both ends, the destination with the address that the source would use.

    Raises: NoSuchEnd, AmbiguousEnd.
    """
    sender = _Words(world, catalog).source(source)
    return sender, _Words(world, catalog).destination(destination, sender)


class _Words:
    def __init__(self, world: World, catalog: Catalog) -> None:
        self._world = world
        self._catalog = catalog

    def source(self, word: str) -> End:
        if word == OUTSIDE:
            return End(OUTSIDE, is_outside=True)
        catalog = self._catalog
        address = _address(word)
        if address is not None:
            given = catalog.floating_ip(address)
            if given is not None:
                if not given["port_id"]:
                    raise NoSuchEnd(f"nothing sends from floating IP {address}: it leads to no port")
                return self._port(catalog.get("port", given["port_id"]), f"floating IP {address}")
            owners = [row for (_, known), row in catalog.ports_by_address.items() if known == address]
            if len(owners) > 1:
                raise AmbiguousEnd(word, [catalog.called("port", row["id"]) for row in owners])
            if owners:
                return self._sends(owners[0], address)
            return End(address, is_outside=True, address=address)
        on = self._on_network(word)
        if on is not None:
            there, address = on
            row = catalog.port_at(there["id"], address)
            if row is None:
                raise NoSuchEnd(f"no port of {catalog.called('network', there['id'])} has the address {address}")
            return self._sends(row, address)
        return self._named(word)

    def _sends(self, row: Row, address: str) -> End:
        """A port that sends from one of its addresses."""
        return msgspec.structs.replace(self._port(row, row["id"]), address=address)

    def destination(self, word: str, sender: End) -> End:
        catalog = self._catalog
        if word == OUTSIDE:
            return self._world_beyond(sender)
        address = _address(word)
        if address is not None:
            return End(address, address=address, about=self._about(address))
        on = self._on_network(word)
        if on is not None:
            there, address = on
            row = catalog.port_at(there["id"], address)
            words = f"{address} on {catalog.called('network', there['id'])}"
            if row is None:
                return End(words, address=address)
            return msgspec.structs.replace(self._port(row, words), words=words, address=address)
        end = self._named(word)
        chosen = self._address_of(end, sender)
        if chosen is None:
            raise NoSuchEnd(f"{end.words} has no address")
        return msgspec.structs.replace(end, address=chosen)

    def _about(self, address: str) -> tuple[str, str] | None:
        given = self._catalog.floating_ip(address)
        return None if given is None else ("floatingip", str(given["id"]))

    def _world_beyond(self, sender: End) -> End:
        """The gateway of the external network that the sender's router has; of several, the first."""
        gateways = [text.split("/")[0] for each in self._world.external for text in each.gateways]
        if not gateways:
            raise NoSuchEnd("no external network has a gateway outside of the cloud")
        near = self._gateways_near(sender)
        chosen = next((text for text in gateways if text in near), gateways[0])
        return End(OUTSIDE, is_outside=True, address=chosen)

    def _gateways_near(self, sender: End) -> set[str]:
        catalog = self._catalog
        port = catalog.get("port", sender.port_id)
        if port is None:
            return set()
        routers = {
            row["device_id"]
            for row in catalog.all("port")
            if row["device_owner"] in _OWNERS and row["network_id"] == port["network_id"]
        }
        found = {
            subnet["gateway_ip"]
            for row in catalog.all("port")
            if row["device_owner"] == _OWNERS[1] and row["device_id"] in routers
            for subnet in catalog.subnets_of(row["network_id"])
        }
        return found | {subnet["gateway_ip"] for subnet in catalog.subnets_of(port["network_id"])}

    def _on_network(self, word: str) -> tuple[Row, str] | None:
        name, slash, text = word.rpartition("/")
        address = _address(text) if slash else None
        if address is None:
            return None
        found = self._catalog.named("network", name)
        if not found:
            raise NoSuchEnd(f'there is no network "{name}"')
        if len(found) > 1:
            raise AmbiguousEnd(name, [self._catalog.called("network", row["id"]) for row in found])
        return found[0], address

    # --- names --------------------------------------------------------------------------------------------------------

    def _named(self, word: str) -> End:
        catalog = self._catalog
        kinds: dict[str, Callable[[Row], End]] = {
            "server": self._server,
            "port": lambda row: self._port(row, str(row["id"])),
            "router": self._router,
            "floatingip": lambda row: self._port(catalog.get("port", row["port_id"]), row["floating_ip_address"]),
        }
        found = [(kind, row) for kind in kinds for row in catalog.named(kind, word)]
        if not found:
            raise NoSuchEnd(f'no server, port, router or floating IP is called "{word}"')
        if len(found) > 1:
            raise AmbiguousEnd(word, [catalog.called(kind, row["id"]) for kind, row in found])
        kind, row = found[0]
        return kinds[kind](row)

    def _server(self, row: Row) -> End:
        ports = self._catalog.ports_of(row["id"])
        if not ports:
            fault = (row.get("fault") or {}).get("message")
            words = f"{self._catalog.called('server', row['id'])} has no port"
            raise NoSuchEnd(f"{words}: its state is {row.get('status')}: {fault}" if fault else words)
        port = min(ports, key=lambda each: (not each["fixed_ips"], str(each["id"])))
        return End(self._catalog.called("server", row["id"]), port_id=port["id"], about=("server", str(row["id"])))

    def _port(self, row: Row | None, word: str) -> End:
        if row is None:
            raise NoSuchEnd(f"{word} leads to no port")
        owner, id = row["device_owner"], str(row["id"])
        words = self._catalog.called("port", id)
        if owner in _OWNERS:
            return self._namespaced(words, names.router_namespace(row["device_id"]), id)
        if owner == "network:dhcp":
            return self._namespaced(words, names.dhcp_namespace(row["network_id"]), id)
        return End(words, port_id=id, about=("port", id))

    def _router(self, row: Row) -> End:
        id = str(row["id"])
        end = self._namespaced(self._catalog.called("router", id), names.router_namespace(id), None)
        return msgspec.structs.replace(end, about=("router", id))

    def _namespaced(self, words: str, namespace: str, port_id: str | None) -> End:
        hosts = [name for name, machine in self._world.machines.items() if machine.internal.get(namespace)]
        about = None if port_id is None else ("port", port_id)
        return End(words, port_id=port_id, namespace=namespace, host=hosts[0] if hosts else None, about=about)

    # --- addresses ----------------------------------------------------------------------------------------------------

    def _address_of(self, end: End, sender: End) -> str | None:
        """Where the sender would look for it: a floating IP from outside, else an address that they have near."""
        catalog = self._catalog
        rows = self._rows_of(end)
        if sender.is_outside:
            ids = {row["id"] for row in rows}
            given = next(
                (row["floating_ip_address"] for row in catalog.all("floatingip") if row["port_id"] in ids), None
            )
            if given is not None:
                return str(given)
        near = {row["network_id"] for row in self._rows_of(sender)}
        rows = sorted(rows, key=lambda row: row["network_id"] not in near)
        if not near and sender.is_outside:
            rows = sorted(rows, key=lambda row: row["device_owner"] != _OWNERS[1])
        texts = [item["ip_address"] for row in rows for item in row["fixed_ips"] or ()]
        if sender.address is not None:
            texts.sort(key=lambda text: (":" in text) is not (":" in (sender.address or "")))
        else:
            first_near = next((text for row in rows if row["network_id"] in near for text in self._texts(row)), None)
            if first_near is not None:
                return first_near
            texts.sort(key=lambda text: ":" in text)
        return texts[0] if texts else None

    @staticmethod
    def _texts(row: Row) -> Iterator[str]:
        """IPv4 first."""
        yield from sorted((str(item["ip_address"]) for item in row["fixed_ips"] or ()), key=lambda text: ":" in text)

    def _rows_of(self, end: End) -> list[Row]:
        catalog = self._catalog
        if end.about is not None and end.about[0] in ("server", "router"):
            return [
                row for row in catalog.ports_of(end.about[1]) if end.port_id is None or row["device_id"] == end.about[1]
            ]
        row = catalog.get("port", end.port_id)
        return [] if row is None else [row]


def _address(word: str) -> str | None:
    try:
        return str(ipaddress.ip_address(word)) if "%" not in word else None  # a zone is a host's own
    except ValueError:
        return None


def is_inside(catalog: Catalog, address: str) -> Row | None:
    """The subnet of the cloud, not an external one, that an address is in."""
    return next((row for row in _inside(catalog) if within(address, row["cidr"])), None)


def prefixes(catalog: Catalog) -> tuple[str, ...]:
    """Those of these subnets (`World.prefixes`)."""
    return tuple(row["cidr"] for row in _inside(catalog))


def _inside(catalog: Catalog) -> Iterator[Row]:
    for row in catalog.all("subnet"):
        if not (catalog.get("network", row["network_id"]) or {}).get("router:external"):
            yield row
