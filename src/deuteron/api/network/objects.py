"""The generic engine: create, list, show, update and delete of any kind, driven by its declaration.

What it does for each request: decode the body, ask policy, call the kind's rule in the transaction, and show
of the row what the caller may see. Which rows and attributes that is, `sight` says; which part of a list,
`rules.network.listing`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from deuteron.api.call import Call, Mode, Reply, Route
from deuteron.api.network import bodies
from deuteron.api.network.lists import links
from deuteron.api.network.readable import Sight
from deuteron.api.policy import Policy
from deuteron.model.caller import Caller
from deuteron.model.codecs import whole_number
from deuteron.model.errors import ApiError, BadRequest, Forbidden, NotFound
from deuteron.model.resource import REQUIRED, Attribute, refuse_late
from deuteron.model.scalars import ProjectId
from deuteron.rules.network import attributes, faults, security_groups, sight
from deuteron.rules.network.kinds import Kind
from deuteron.rules.network.listing import WORDS, listed, refuse_what_cannot_be_asked
from deuteron.store import listing, query
from deuteron.store.database import Tx
from deuteron.store.listing import Asked, Part
from deuteron.store.query import Values

_BY_ID = frozenset({"fields", "limit", "marker", "page_reverse"})
"""What a query may hold that asks for a page in the order of ids."""
_WITH_DEFAULT_GROUP = frozenset({"security_group", "security_group_rule"})
_ABOUT_PARENTS = frozenset({"subnet", "port", "security_group_rule"})
"""Kinds whose rule of creating looks at the network or group that they are made in."""
MAX_LISTED = 800
"""Items in all lists of the objects of one create request together, at some 0.04 ms each."""
_SHORT_ROWS = 1000
"""A list of a table with at most so many rows is short: some 7 us a row."""
_SHORT_SCAN = 10_000
"""A page of a table with at most so many rows is short, even if each row has to be looked at: some 1 us a row."""
_SHORT_QUERY = 20
"""Pairs. A query of more goes through a thread, whatever it asks for."""
_SAID_WITH_ANY_VALUE = frozenset({
    "provider:network_type", "provider:physical_network", "provider:segmentation_id", "segments", "mac_address",
    "fixed_ips", "allowed_address_pairs", "binding:host_id", "binding:profile", "distributed", "ha",
})  # fmt: skip
"""Attributes without a default: a body that names one asks for what needs a role, be it null or empty."""
_POLICY_COLUMNS = ("project_id", "shared", "router:external")
"""What the rules about reading a row look at."""


@dataclass(frozen=True)
class _New:
    """One object of a create body."""

    values: Values
    explicit: Sequence[str]
    """The names that the body sets to something else than their default."""
    is_alone: bool
    """Whether the body holds it alone, and not a list."""


class Objects:
    """The handlers of one kind. `seen` is shared by all kinds of a service."""

    def __init__(self, kind: Kind, seen: Sight) -> None:
        self.kind = kind
        self._seen = seen
        self._stored = tuple(a.name for a in kind.resource.attributes if a.read and a.stored)
        self._derived = frozenset(a.name for a in kind.resource.attributes if a.read and not a.stored)

    def routes(self) -> tuple[Route, ...]:
        base = f"/v2.0/{self.kind.resource.path}"
        makes = self._lacks_default_group if self.kind.name in _WITH_DEFAULT_GROUP else None
        found = [
            Route("GET", base, self.list_all, is_short=self._is_short, writes_if=makes),
            Route("GET", f"{base}/{{id}}", self.show, is_short=self._is_short_one),
        ]
        if self.kind.create is not None:
            found.append(Route("POST", base, self.create, Mode.WRITE, before=self._read_create))
        if self.kind.update is not None:
            found.append(Route("PUT", f"{base}/{{id}}", self.update, Mode.WRITE, before=self._read_update))
        if self.kind.delete is not None:
            found.append(Route("DELETE", f"{base}/{{id}}", self.delete, Mode.WRITE))
        nesting = self.kind.resource.parent
        if nesting is not None and nesting.alias is not None:
            one = f"/v2.0/{nesting.alias}/{{id}}"
            found += [replace(route, path=one) for route in found if route.path.endswith("/{id}")]
        return tuple(found)

    # --- handlers -------------------------------------------------------------------------------------------------

    def create(self, call: Call, tx: Tx) -> Reply:
        """POST: one object, or a list of which all are made or none."""
        kind = self.kind
        wanted: list[_New] = call.given
        made = [self._create(call, tx, each) for each in wanted]
        if wanted[0].is_alone:
            return Reply(201, {kind.member: made[0]})
        return Reply(201, {kind.collection: made})

    def show(self, call: Call, tx: Tx) -> Reply:
        """GET of one. Filters of some kinds, and by an alias, are looked at as in a list, and decide nothing."""
        if (self.kind.is_cut_by_plugin or self._by_alias(call)) and call.query:
            refuse_what_cannot_be_asked(
                self.kind,
                call.caller,
                listing.read(call.query, WORDS),
                partial(self._may_compare, call.policy, call.caller),
            )
        row, within = self._found(call, tx)
        names = self._seen.readable(call.policy, call.caller, self.kind, row, within, self._rule(call))
        if names is None:
            raise faults.not_found(self.kind.name, call.params["id"], "" if within is None else within["id"])
        fields = self._fields(call)
        shown = self._shown(call, tx, row, names & fields if fields else names)
        return Reply(200, {self._member(call): shown})

    def update(self, call: Call, tx: Tx) -> Reply:
        """PUT: what the body names changes, all else stays."""
        kind = self.kind
        assert kind.update is not None  # the route exists only then
        given: Values | BadRequest = call.given
        values = {} if isinstance(given, BadRequest) else given
        row, within = self._found(call, tx)
        target = {**sight.row_target(row), **values, **kind.target(tx, call.caller, row), **sight.parent_target(within)}
        # A null is a value too: it would take what only an administrator may give.
        self._require_of(call, "update", target, list(values), row, within)
        if isinstance(given, BadRequest):
            raise given
        refuse_late(values)
        _check_revision(call, row)
        row = kind.update(tx, call.settings, call.caller, row, values)
        return Reply(200, {self._member(call): self._shown(call, tx, row, within=within)})

    def delete(self, call: Call, tx: Tx) -> Reply:
        """DELETE."""
        kind = self.kind
        assert kind.delete is not None  # the route exists only then
        row, within = self._found(call, tx)
        target = {**sight.row_target(row), **kind.target(tx, call.caller, row), **sight.parent_target(within)}
        self._require_of(call, "delete", target, (), row, within)
        _check_revision(call, row)
        kind.delete(tx, call.settings, call.caller, row)
        return Reply(204)

    def list_all(self, call: Call, tx: Tx) -> Reply:
        """GET of all that match: filters, fields, sorting, pages."""
        collection = self.kind.collection
        backwards = (call.get("page_reverse") or "").lower() in ("true", "1")
        asked = listing.read(call.query, WORDS, backwards=backwards)
        self._before_reading(call, tx)
        if self.kind.parent is not None:
            # As in Neutron, what cannot be asked is refused before the parent is looked for.
            may_compare = partial(self._may_compare, call.policy, call.caller)
            refuse_what_cannot_be_asked(self.kind, call.caller, asked, may_compare)
        try:
            page, shown = self._rows(call, tx, asked, self._fields(call), self._within(call, tx))
        except NotFound:
            if "parent" not in call.params or self.kind.looks_for_parent:
                raise
            page, shown = Part([], more=False), []
        body: dict[str, Any] = {collection: shown}
        if not shown:
            page = Part([], more=False)  # links tell nothing of rows that the caller may not see
        if listing.limit_of(asked, WORDS) is not None and (beside := self._links(call, page, backwards=backwards)):
            body[f"{collection}_links"] = beside
        return Reply(200, body)

    def _links(self, call: Call, page: Part[Values], *, backwards: bool) -> list[dict[str, str]]:
        nesting = self.kind.resource.parent
        return links(call, page, backwards=backwards, marker="id" if nesting is None else nesting.named_by)

    def shown(self, call: Call, tx: Tx, row: Mapping[str, Any]) -> Values:
        """What the caller may see of one whole row."""
        return self._shown(call, tx, dict(row))

    def _fields(self, call: Call) -> frozenset[str]:
        """The attributes that a query names; an empty name is one of a core kind, and shows nothing."""
        cut = self.kind.is_cut_by_plugin
        return frozenset(value for name, value in call.query if name == "fields" and (value or cut))

    def _is_short(self, call: Call, tx: Tx) -> bool:
        if len(call.query) > _SHORT_QUERY or not self._is_short_one(call, tx):
            return False
        rows = query.most_rows(tx, self.kind.table)
        page = whole_number(call.get("limit", "") or "") or 0
        if rows <= _SHORT_ROWS or not 0 < page <= _SHORT_ROWS:
            return rows <= _SHORT_ROWS
        # Who sees every row has a page by its index, however many rows there are.
        is_plain = all(name in _BY_ID for name, _ in call.query) and self.kind.visible(call.caller) is None
        return is_plain or rows <= _SHORT_SCAN

    def _is_short_one(self, call: Call, tx: Tx) -> bool:
        """Whether what is shown with one object is little: a group has rules."""
        inside = self.kind.shows_rows_of
        return inside is None or query.most_rows(tx, inside) <= _SHORT_ROWS

    # --- writing --------------------------------------------------------------------------------------------------

    def _read_create(self, call: Call) -> list[_New]:
        """The objects of a body, decoded: at least one. Raises: BadRequest."""
        kind = self.kind
        body = bodies.parse(call, kind.member)
        if kind.collection not in body or not kind.max_bulk:
            return [self._read_one(call, bodies.one(call, kind.member), is_alone=True)]
        items = body[kind.collection]
        if isinstance(items, list) and len(items) > kind.max_bulk:
            raise faults.http_bad_request(
                f"Invalid input for {kind.collection}. Reason: the list holds {len(items)} items, at most "
                f"{kind.max_bulk} are accepted in one request"
            )
        found = [self._read_one(call, item, is_alone=False) for item in bodies.several(items, kind.member)]
        listed = sum(len(value) for each in found for value in each.values.values() if isinstance(value, list))
        if listed > MAX_LISTED:
            raise faults.http_bad_request(
                f"Invalid input for {kind.collection}. Reason: the lists of its items hold {listed} items, at most "
                f"{MAX_LISTED} are accepted in one request"
            )
        return found

    def _read_one(self, call: Call, item: Mapping[str, Any], *, is_alone: bool) -> _New:
        declared = self.kind.resource.by_name
        values = attributes.decode_create(self.kind.resource, item, call.caller)
        self.kind.refuse(call.settings, values)
        explicit = [name for name in item if name in values and not _is_default(declared[name], values[name])]
        return _New(values, explicit, is_alone)

    def _read_update(self, call: Call) -> Values | BadRequest:
        """Decoded; of a body without the object, what some kinds say when they have looked for the object."""
        member = self._member(call)
        if self.kind.is_cut_by_plugin or self._by_alias(call):
            body = bodies.parse(call, member) if call.raw else {}
            if member not in body and self.kind.collection not in body:
                return bodies.lacks(member)
        values = attributes.decode_update(self.kind.resource, bodies.one(call, member))
        self.kind.refuse(call.settings, values)
        return values

    def _create(self, call: Call, tx: Tx, new: _New) -> Values:
        kind = self.kind
        assert kind.create is not None  # the route exists only then
        values, explicit = new.values, new.explicit
        try:
            within = self._within(call, tx)
        except NotFound:
            # Who may not make one of its own parent's either is told so first.
            own = {"project_id": call.caller.project_id, "tenant_id": call.caller.project_id}
            if not call.policy.check(call.caller, f"create_{kind.rule}", {**own, **sight.parent_target(own)}):
                raise faults.not_authorized([f"create_{kind.rule}"]) from None
            if call.caller.is_admin:
                kind.judge(values)
            raise
        if within is not None and kind.resource.parent is not None:
            values = {**values, kind.resource.parent.attribute: within["id"]}
        target: Values = {**values, "tenant_id": values.get("project_id"), **sight.parent_target(within)}
        rules = call.policy.rules
        if kind.name in _ABOUT_PARENTS or any(f"create_{kind.rule}:{name}" in rules for name in explicit):
            target.update(kind.target(tx, call.caller, values))
        try:
            self._require(call, f"create_{kind.rule}", target, explicit)
            refuse_late(values)
        except ApiError as error:
            # A parent that the caller does not see is not there for it, whatever it wanted to do.
            network_id, group_id = values.get("network_id"), values.get("security_group_id")
            if isinstance(error, Forbidden) and kind.name != "local_ip" and isinstance(network_id, str):
                sight.network_for(tx, call.caller, network_id)
            elif isinstance(group_id, str):
                sight.find_visible(tx, call.caller, security_groups.KIND, group_id)
            raise
        row = kind.create(tx, call.settings, call.caller, values)
        return self._shown(call, tx, row, created=True, within=within)

    def _require(self, call: Call, rule: str, target: Mapping[str, Any], names: Sequence[str]) -> None:
        """The rule of the action, and those of the attributes it names. Raises: Forbidden."""
        policy, caller = call.policy, call.caller
        wanted = [rule, *_attribute_rules(policy, rule, names, target)]
        for each in wanted:
            if not policy.check(caller, each, target):
                raise faults.not_authorized(wanted)

    def _require_of(
        self,
        call: Call,
        verb: str,
        target: Mapping[str, Any],
        names: Sequence[str],
        row: Values,
        within: Values | None,
    ) -> None:
        """The same for an object that is there. Raises: Forbidden; NotFound for who may not even read it."""
        try:
            self._require(call, f"{verb}_{self._rule(call)}", target, names)
        except Forbidden:
            resource = self.kind.resource
            if verb == "update" and resource.hidden_from_writers and row["project_id"] != call.caller.project_id:
                raise faults.missing("HTTPNotFound", "The resource could not be found.") from None
            if self._seen.readable(call.policy, call.caller, self.kind, row, within, self._rule(call)) is None:
                raise faults.not_found(self.kind.name, row["id"], "" if within is None else within["id"]) from None
            raise

    # --- reading --------------------------------------------------------------------------------------------------

    def _group_owner(self, call: Call) -> ProjectId | None:
        """A project sees its default security group from its first list on, and an administrator who asks for it.

        Who asks for another project's makes none.
        """
        caller = call.caller
        asked = call.get("project_id") or call.get("tenant_id")
        if not asked or asked == caller.project_id:
            return caller.project_id
        return ProjectId(asked) if caller.is_admin else None

    def _lacks_default_group(self, call: Call, tx: Tx) -> bool:
        project_id = self._group_owner(call)
        return project_id is not None and not security_groups.has_default_group(tx, project_id)

    def _before_reading(self, call: Call, tx: Tx) -> None:
        """Make the default group, where the application found that it has to be made."""
        if tx.writable and self.kind.name in _WITH_DEFAULT_GROUP:
            project_id = self._group_owner(call)
            if project_id is not None:
                security_groups.default_group(tx, project_id)

    def _within(self, call: Call, tx: Tx) -> Values | None:
        """The parent that the path names; None for a kind that is no part of another. Raises: NotFound."""
        if self.kind.parent is None:
            return None
        found: Values = sight.find_visible(tx, call.caller, self.kind.parent, call.params["parent"])
        return found

    def _found(self, call: Call, tx: Tx) -> tuple[Values, Values | None]:
        """The row that the path names, and its parent's. Raises: NotFound."""
        nesting, parent = self.kind.resource.parent, self.kind.parent
        if nesting is None or parent is None:
            return sight.find_visible(tx, call.caller, self.kind, call.params["id"]), None
        if "parent" in call.params:
            try:
                within = sight.find_visible(tx, call.caller, parent, call.params["parent"])
            except NotFound:
                if self.kind.looks_for_parent:
                    raise
                raise faults.not_found(self.kind.name, call.params["id"], call.params["parent"]) from None
            return sight.find_visible(tx, call.caller, self.kind, call.params["id"], within["id"]), within
        row = sight.find_visible(tx, call.caller, self.kind, call.params["id"])
        try:
            return row, sight.find_visible(tx, call.caller, parent, row[nesting.attribute])
        except NotFound:
            # Of what is another project's, nothing is told: neither that it is there, nor what it is a part of.
            raise faults.not_found(self.kind.name, row["id"], "") from None

    def _by_alias(self, call: Call) -> bool:
        """Whether the path names a part without naming what it is a part of."""
        return self.kind.parent is not None and "parent" not in call.params

    def _member(self, call: Call) -> str:
        """What one is called in bodies."""
        return self.kind.resource.alias_name if self._by_alias(call) else self.kind.member

    def _rule(self, call: Call) -> str:
        """What policy rules call one."""
        return self.kind.resource.alias_name if self._by_alias(call) else self.kind.rule

    def _shown(
        self,
        call: Call,
        tx: Tx,
        row: Values,
        names: frozenset[str] | None = None,
        *,
        created: bool = False,
        within: Values | None = None,
    ) -> Values:
        """What the caller may see of one whole row."""
        if names is None:
            readable = self._seen.readable(call.policy, call.caller, self.kind, row, within, self._rule(call))
            names = readable if readable is not None else frozenset(("id",))
        if self.kind.derive is not None:
            row = dict(row)
            self.kind.derive(tx, call.settings, call.caller, (row,), names)
        shown = {name: _read(row, name) for name in self._order_of(names)}
        return _with_some(self.kind, shown, row) if created else _pruned(self.kind, shown, row)

    def _order_of(self, names: frozenset[str]) -> list[str]:
        return [attribute.name for attribute in self.kind.resource.attributes if attribute.name in names]

    def _rows(
        self, call: Call, tx: Tx, asked: Asked, fields: frozenset[str], within: Values | None
    ) -> tuple[Part[Values], list[Values]]:
        kind, caller = self.kind, call.caller
        wanted = [name for name in self._stored if not fields or name in fields]
        has = kind.table.c
        hidden = [name for name in ("id", *_POLICY_COLUMNS, *kind.extra_columns) if name in has and name not in wanted]
        may_compare = partial(self._may_compare, call.policy, caller)
        page = listed(tx, kind, caller, asked, [*wanted, *hidden], may_compare, within)
        rows = page.rows
        derived = self._derived if not fields else self._derived & fields
        if kind.derive is not None and rows:
            kind.derive(tx, call.settings, caller, rows, derived | frozenset(wanted))
        known: dict[tuple[Any, ...], tuple[str, ...] | None] = {}
        with_tenant = "tenant_id" in derived
        every = len(wanted) + len(derived)
        is_pruned = kind.name == "network" or bool(kind.if_any)
        shown: list[Values] = []
        for row in rows:
            key = (row.get("project_id"), row.get("shared"), row.get("router:external"))
            if key not in known:
                readable = self._seen.readable(call.policy, caller, kind, row, within)
                known[key] = None if readable is None else tuple(n for n in (*wanted, *derived) if n in readable)
            names = known[key]
            if names is None:
                continue
            if with_tenant:
                row["tenant_id"] = row.get("project_id")
            seen = row if not hidden and len(names) == every else {name: row.get(name) for name in names}
            shown.append(_pruned(kind, seen, row) if is_pruned else seen)
        return page, shown

    def _may_compare(self, policy: Policy, caller: Caller, attribute: Attribute) -> bool:
        """A value that a caller may not read tells it nothing through filters or order either."""
        if attribute.read_rule is None:
            return True
        own = {"project_id": caller.project_id, "tenant_id": caller.project_id}
        return policy.check(caller, f"get_{self.kind.rule}:{attribute.name}", own)


def _attribute_rules(policy: Policy, rule: str, names: Sequence[str], target: Mapping[str, Any]) -> list[str]:
    known = policy.rules
    found: list[str] = []
    for name in names:
        each = f"{rule}:{name}"
        if each in known:
            found.append(each)
        value = target.get(name)
        parts: set[str] = set()
        if isinstance(value, dict):
            parts.update(str(part) for part in value)
        elif isinstance(value, list):
            parts.update(str(part) for item in value if isinstance(item, dict) for part in item)
        found.extend(f"{each}:{part}" for part in sorted(parts) if f"{each}:{part}" in known)
    return found


def _is_default(attribute: Attribute, value: Any) -> bool:
    if attribute.name in _SAID_WITH_ANY_VALUE:
        return False
    return value is None or (attribute.default is not REQUIRED and value == attribute.default)


def _read(row: Values, name: str) -> Any:
    return row.get("project_id") if name == "tenant_id" else row.get(name)


def _pruned(kind: Kind, shown: Values, row: Values) -> Values:
    """`is_default` says something of external networks only; Neutron shows it of others when they are made."""
    if kind.name == "network" and "is_default" in shown and not row.get("router:external"):
        if shown is row:
            shown = dict(row)
        del shown["is_default"]
    return _with_some(kind, shown, row)


def _with_some(kind: Kind, shown: Values, row: Values) -> Values:
    """Without those attributes that only some objects have and this one has not."""
    for name in kind.if_any:
        hidden = (name,) if row.get(name) is None else kind.instead.get(name, ())
        if hidden and any(each in shown for each in hidden):
            shown = {key: value for key, value in shown.items() if key not in hidden}
    return shown


def _check_revision(call: Call, row: Values) -> None:
    """If-Match: revision_number=N. Raises: PreconditionFailed."""
    wanted = call.headers.get("if-match")
    if wanted is None:
        return
    found = re.fullmatch(r"\s*revision_number\s*=\s*([0-9]{1,18})\s*", wanted)
    if found is None:
        raise faults.http_bad_request(f"Invalid value for If-Match header '{wanted}': revision_number=N is accepted")
    if int(found.group(1)) != row.get("revision_number"):
        raise faults.PreconditionFailed(
            f"Constrained to {found.group(1)}, but current revision is {row.get('revision_number')}"
        )
