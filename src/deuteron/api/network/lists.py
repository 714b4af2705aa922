"""Lists that no table holds: agents, zones, providers, pools, how full networks are. Made for each request.

What a query may ask of one is declared here, as that of a table is by its resource. A marker that is not in the list
begins anew.

Source: neutron-lib, api/definitions/agent.py, agent_sort_key.py, availability_zone.py, network_ip_availability.py;
what Neutron 29 answers where they say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.links import page_from
from deuteron.model.codecs import Boolean, Invalid
from deuteron.rules.network import faults
from deuteron.rules.network.listing import WORDS
from deuteron.store import listing
from deuteron.store.listing import Part
from deuteron.store.query import Values


@dataclass(frozen=True)
class Made:
    """What may be asked of a list: the names by which it is filtered and sorted, and the one that marks a place."""

    collection: str
    filters: frozenset[str]
    booleans: frozenset[str] = frozenset()
    """Which of the filters are compared as booleans."""
    elsewhere: frozenset[str] = frozenset()
    """Which of the filters whoever makes the items has looked at."""
    sorts: frozenset[str] = frozenset()
    marker: str | None = None
    """None for a list that is answered whole, whatever is asked of pages and order."""
    refuses_unknown: bool = True
    ignores_case: bool = False
    has_fields: bool = True


AGENTS: Final = Made(
    "agents",
    frozenset({
        "id", "agent_type", "binary", "topic", "host", "admin_state_up", "alive", "description", "availability_zone",
    }),
    booleans=frozenset({"admin_state_up", "alive"}),
    sorts=frozenset({
        "id", "agent_type", "binary", "topic", "host", "admin_state_up", "created_at", "started_at",
        "heartbeat_timestamp", "description",
    }),
    marker="id",
    # As MySQL does it below Neutron: clients, OpenStack's own tests too, ask for a "DHCP Agent".
    ignores_case=True,
)  # fmt: skip
ZONES: Final = Made("availability_zones", frozenset({"name", "resource", "state"}), has_fields=False)
PROVIDERS: Final = Made(
    "service_providers",
    frozenset({"service_type", "name", "default"}),
    booleans=frozenset({"default"}),
    refuses_unknown=False,
)
BINDINGS: Final = Made("bindings", frozenset({"host", "vif_type", "vnic_type", "status"}), marker="host")
POOLS: Final = Made("floatingip_pools", frozenset())
LOGGABLE: Final = Made("loggable_resources", frozenset(), marker="type", has_fields=False)
AVAILABILITIES: Final = Made(
    "network_ip_availabilities",
    frozenset({"network_id", "network_name", "tenant_id", "project_id", "ip_version"}),
    elsewhere=frozenset({"ip_version"}),
    sorts=frozenset({"network_id"}),
    marker="network_id",
)


def answer(call: Call, made: Made, items: Sequence[Values]) -> Reply:
    """The items that the query asks for, in its order, with its fields, and links to the pages beside.

    Raises: BadRequest for what cannot be asked.
    """
    backwards = (call.get("page_reverse") or "").lower() in ("true", "1")
    asked = listing.read(call.query, WORDS, backwards=backwards)
    found = _matching(made, asked.filters, items)
    if made.marker is None:
        return Reply(200, {made.collection: _shown(call, made, found)})
    order = listing.order_of(asked, WORDS, made.collection, lambda key: key if key in made.sorts else None)
    page = listing.of_items(found, asked, WORDS, order, made.marker)
    body: dict[str, Any] = {made.collection: _shown(call, made, page.rows)}
    if listing.limit_of(asked, WORDS) is not None:
        body[f"{made.collection}_links"] = links(call, page, backwards=backwards, marker=made.marker)
    return Reply(200, body)


def _shown(call: Call, made: Made, items: Sequence[Values]) -> Sequence[Values]:
    return [fields(call, item) for item in items] if made.has_fields else items


def fields(call: Call, item: Values) -> Values:
    """What of one item the query asks for."""
    wanted = {value for name, value in call.query if name == "fields" and value}
    return {name: value for name, value in item.items() if name in wanted} if wanted else item


def links(call: Call, page: Part[Values], *, backwards: bool, marker: str = "id") -> list[dict[str, str]]:
    """Links from a page to its neighbours, as far as there may be some."""
    kept = [pair for pair in call.query if pair[0] != "page_reverse"]
    path = f"{call.base_url}/network{call.path}"
    first, last = (page.rows[0][marker], page.rows[-1][marker]) if page.rows else (None, None)
    found: list[dict[str, str]] = []
    if page.more or backwards:
        found.append({"rel": "next", "href": page_from(path, kept, last)})
    if page.more or not backwards:
        found.append({"rel": "previous", "href": page_from(path, kept, first) + "&page_reverse=True"})
    return found


def _matching(made: Made, filters: Sequence[tuple[str, str]], items: Sequence[Values]) -> list[Values]:
    asked: dict[str, list[Any]] = {}
    for name, text in filters:
        if name in made.filters - made.elsewhere:
            asked.setdefault(name, []).append(_value(made, name, text))
    unknown = list(dict.fromkeys(name for name, _ in filters if name not in made.filters))
    if unknown and made.refuses_unknown:
        raise faults.http_bad_request(f"{unknown} is invalid attribute for filtering")
    return [item for item in items if all(_told(made, item.get(name)) in values for name, values in asked.items())]


def _value(made: Made, name: str, text: str) -> Any:
    if name not in made.booleans:
        return _told(made, text)
    try:
        return Boolean().decode(text)
    except Invalid as error:
        raise faults.invalid_input(error.reason) from None


def _told(made: Made, value: Any) -> Any:
    return value.lower() if made.ignores_case and isinstance(value, str) else value
