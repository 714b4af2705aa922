"""Floating IPs of distributed routers that the hosts of their ports translate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from deuteron.hub.projections.contract import Reading, numbers
from deuteron.hub.projections.router_ports import Around, hops_of, router_port
from deuteron.model.intent import Key, LimitedAddress, LocalFloatingIp, RouterFloating
from deuteron.model.network.rows import FloatingIpRow, RouterRow, SubnetRow
from deuteron.model.scalars import SubnetId
from deuteron.rules.network import local_floating
from deuteron.store import slots
from deuteron.store.slots import EVERYWHERE


class LocalFloatingIps:
    """Those among `given`, floating IPs of routers of which some are distributed."""

    def __init__(self, reading: Reading, distributed: Sequence[str], given: Sequence[FloatingIpRow]) -> None:
        tx = reading.tx
        self._where = slots.local_floating(tx, [each["id"] for each in given]) if given else {}
        self._on: dict[tuple[str, str], list[FloatingIpRow]] = defaultdict(list)
        for each in given:
            if each["id"] in self._where:
                where = self._where[each["id"]]
                self._on[where.host, where.router_id].append(each)
        self._pairs = slots.pairs_of(tx, distributed) if self._where else {}
        networks = {each["floating_network_id"] for each in given if each["id"] in self._where}
        self._gateways = local_floating.gateways(tx, networks) if networks else {}
        limited = [each["id"] for each in given if each["id"] in self._where and each["qos_policy_id"] is not None]
        self._numbers = numbers(tx, "address", {(EVERYWHERE, id) for id in limited})

    def __contains__(self, floating_id: object) -> bool:
        return floating_id in self._where

    def on(
        self, host: str, router: RouterRow, around: Around, prefixes: Mapping[SubnetId, SubnetRow]
    ) -> RouterFloating | None:
        """What a router translates on a host."""
        mine = self._on.get((host, router["id"]), ())
        pair = self._pairs.get(router["id"], {}).get(host)
        network_id = router["gateway_network_id"]
        port = None if network_id is None else self._gateways.get((host, network_id))
        if not mine or pair is None or port is None:
            return None
        return RouterFloating(
            port=router_port(around, port, prefixes),
            pair=pair,
            floating_ips=tuple(
                LocalFloatingIp(
                    each["id"],
                    each["floating_ip_address"],
                    each["fixed_ip_address"] or "",
                    self._where[each["id"]].number,
                )
                for each in mine
            ),
            gateway_ips=hops_of(port, prefixes),
            limited_addresses=tuple(
                LimitedAddress(
                    each["floating_ip_address"], self._numbers[EVERYWHERE, each["id"]], each["qos_policy_id"]
                )
                for each in mine
                if each["qos_policy_id"] is not None
            ),
        )

    def rows_of(self, router: RouterRow) -> Iterable[Key]:
        """The rows that this says something of, for one router."""
        for (host, router_id), mine in self._on.items():
            if router_id == router["id"]:
                yield from (("floatingip", each["id"]) for each in mine)
                network_id = router["gateway_network_id"]
                port = None if network_id is None else self._gateways.get((host, network_id))
                if port is not None:
                    yield ("port", port["id"])
