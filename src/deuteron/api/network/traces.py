"""GET /trace: where a packet would pass, and what stops it. An extension of our own, `deuteron-trace`.

The rows that the caller sees are read here, and what every host should have; the walk itself is another process's
(`deuteron.api.tracer`), which tells of it what is the caller's (`deuteron.trace.seen`).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.api.compute import views
from deuteron.api.network import rights
from deuteron.api.network.readable import Sight
from deuteron.hub import traces
from deuteron.hub.log import current_revision
from deuteron.model.codecs import whole_number
from deuteron.model.errors import ApiError, Conflict, NotFound
from deuteron.model.traces import COLUMNS, FabricAnswer, FabricQuestion, TraceAnswer, TraceQuestion
from deuteron.rules.hosts import registry
from deuteron.rules.network import external, faults
from deuteron.rules.network.kinds import Kind
from deuteron.rules.network.listing import listed
from deuteron.rules.network.registry import KINDS
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.listing import Asked
from deuteron.store.network_tables import ports
from deuteron.store.query import Values

QUERY: Final = {
    "source": True, "destination": True, "protocol": False, "size": False, "address": False, "gateway": False,
}  # fmt: skip
"""What may be asked, and what has to."""
_MAX_WORD: Final = 300
_SMALL_BYTES: Final = 84
"""What `ping` sends."""
_KINDS: Final = tuple(kind for kind in KINDS if kind.name in COLUMNS)
_OF_ROUTERS: Final = (
    "network:router_gateway", "network:router_interface", "network:ha_router_replicated_interface",
)  # fmt: skip
_FOR_ADMINS: Final = frozenset({"binding:vif_type"})
_TO_SHOW: Final = ("project_id", "shared", "router:external")


class Traces:
    """`seen` is shared by all kinds of a service."""

    def __init__(self, seen: Sight) -> None:
        self._seen = seen

    async def show(self, call: Call) -> Reply:
        """GET /trace"""
        said = _said(call)
        tracer = call.parts.tracer

        def ask(known: Hashable) -> tuple[TraceQuestion, Hashable]:
            with call.store.read() as tx, call.spent.step("reader"):
                return self._question(call, tx, said, known)

        with tracer.admit(call.caller.project_id):
            answer = await asyncio.wrap_future(tracer.jobs.ask(partial(tracer.answer, ask, TraceAnswer)))
        if answer.trace is None:
            raise _refusal(answer)
        return Reply(200, {"trace": msgspec.to_builtins(answer.trace)})

    async def fabric(self, call: Call) -> Reply:
        """GET /fabric: what every host should have of bridges, ports, tunnels and namespaces. Raises: Forbidden."""
        rights.require(call, "get_fabric")
        if call.query:
            raise faults.http_bad_request(f"['{call.query[0][0]}'] is invalid attribute for filtering")
        tracer = call.parts.tracer

        def ask(known: Hashable) -> tuple[FabricQuestion, Hashable]:
            with call.store.read() as tx, call.spent.step("reader"):
                key = _key(call, tx)
                return FabricQuestion(None if key == known else traces.traced_hosts(tx, call.settings)), key

        with tracer.admit(call.caller.project_id):
            answer = await asyncio.wrap_future(tracer.jobs.ask(partial(tracer.answer, ask, FabricAnswer)))
        return Reply(200, {"fabric": msgspec.to_builtins(answer)})

    def _question(self, call: Call, tx: Tx, said: Mapping[str, str], known: Hashable) -> tuple[TraceQuestion, Hashable]:
        caller, settings = call.caller, call.settings
        rows: dict[str, list[Values]] = {kind.name: self._rows(call, tx, kind) for kind in _KINDS}
        servers = [(each, views.status_of(each.vm_state, each.task_state)) for each in traces.traced_servers(tx)]
        rows["server"] = [
            {"id": each.id, "name": each.name, "project_id": each.project_id, "status": status}
            for each, status in servers
            if caller.is_admin or each.project_id == caller.project_id
        ]
        own = None
        if not caller.is_admin:
            own = frozenset(
                row["id"] for found in rows.values() for row in found if row["project_id"] == caller.project_id
            )
            own |= _of_routers(tx, rows, own)
            # What is no server of the cloud is a device of whoever has its ports.
            devices = {row["device_id"] for row in rows["port"] if row["id"] in own and row["device_id"]}
            own |= devices - {each.id for each, _ in servers}
        key = _key(call, tx)
        question = TraceQuestion(
            None if key == known else traces.traced_hosts(tx, settings),
            rows,
            own,
            tuple(external.external_networks(tx)),
            frozenset(settings.outside_wires),
            {row["id"]: row["status"] for row in rows["server"]},
            frozenset(host.name for host in registry.all_hosts(tx, settings) if host.hello and not host.alive),
            said["source"],
            said["destination"],
            said.get("protocol", "icmp"),
            int(said.get("size", _SMALL_BYTES)),
            said.get("address"),
            said.get("gateway"),
        )
        return question, key

    def _rows(self, call: Call, tx: Tx, kind: Kind[Any]) -> list[Values]:
        """What the caller sees, with what a trace looks at of it."""
        names = ["id", *(name for name in COLUMNS[kind.name] if call.caller.is_admin or name not in _FOR_ADMINS)]
        more = [name for name in _TO_SHOW if name in kind.table.c and name not in names]
        found = listed(tx, kind, call.caller, Asked(), [*names, *more], lambda _: True).rows
        readable = self._seen.readable
        return [
            {name: row[name] for name in names}
            for row in found
            if readable(call.policy, call.caller, kind, row) is not None
        ]


def _key(call: Call, tx: Tx) -> Hashable:
    """Of what hosts should have."""
    return current_revision(tx), msgspec.json.encode(call.settings.hosts)


def _of_routers(tx: Tx, rows: dict[str, list[Values]], own: frozenset[str]) -> frozenset[str]:
    """Ids of the ports of the caller's own routers, which are put into `rows` where nobody has them: gateways."""
    routers = [row["id"] for row in rows["router"] if row["id"] in own]
    known = {row["id"] for row in rows["port"]}
    owners, device = query.any_of(ports.c["device_owner"], _OF_ROUTERS), query.any_of(ports.c["device_id"], routers)
    names = [name for name in ("id", *COLUMNS["port"]) if name not in _FOR_ADMINS]
    found = query.answers(tx, ports, names, (device, owners)) if routers else []
    rows["port"] += [row for row in found if row["id"] not in known]
    return frozenset(row["id"] for row in found)


def _said(call: Call) -> dict[str, str]:
    """The words of the query. Raises: BadRequest."""
    said: dict[str, str] = {}
    for name, value in call.query:
        if name not in QUERY:
            raise faults.http_bad_request(f"['{name}'] is invalid attribute for a trace; known are {', '.join(QUERY)}")
        if len(value) > _MAX_WORD:
            raise faults.invalid_input(f"'{name}' has more than {_MAX_WORD} characters")
        said.setdefault(name, value)
    for name in (name for name, is_needed in QUERY.items() if is_needed):
        if not said.get(name):
            raise faults.invalid_input(
                f"'{name}' is missing: a server, port, router, floating IP, address, NETWORK/ADDRESS or outside"
            )
    for name in ("address", "gateway"):
        if name in said and not _is_address(said[name]):
            raise faults.invalid_input(f"'{name}' is no address: {said[name]}")
    size = whole_number(said.get("size", str(_SMALL_BYTES)))
    if size is None or not 28 <= size <= 65535:
        raise faults.invalid_input("'size' is the bytes of an IP packet: 28 to 65535")
    return said


def _is_address(text: str) -> bool:
    """Without a zone, which is a host's own."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _refusal(answer: TraceAnswer) -> ApiError:
    if answer.refused == "no-such-end":
        return NotFound(answer.message, type="TraceEndNotFound")
    if answer.refused == "ambiguous-end":
        return Conflict(answer.message, type="TraceEndAmbiguous", hint="say which by its id")
    if answer.refused == "unfit-end":
        return faults.invalid_input(answer.message)
    return Conflict(answer.message or "This packet cannot be followed.", type="TraceNotFollowed")
