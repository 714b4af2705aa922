"""Access rules of application credentials: the requests that a program may make, and no others.

A rule is a service's type, a method and what the path looks like:

    *          what stands between two slashes, at least one character
    {name}     the same
    **         anything, slashes too

A path is written as the service has it (`/v2.1/servers`), or with the place where the service is mounted
(`/compute/v2.1/servers`): clouds differ in which of them their middleware sees.

A rule belongs to a user, and is there once for however many application credentials name it.
Source: keystonemiddleware 13.0, auth_token `validate_allowed_request` and `_path_matches`; keystone 30.0,
application_credential/backends/sql.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from deuteron.model.caller import AccessRule
from deuteron.model.errors import BadRequest, Forbidden, NotFound, Unauthorized
from deuteron.model.identity import ACCESS_RULE
from deuteron.model.identity_rows import AccessRuleRow
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import new_id
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import access_rules, application_credentials
from deuteron.store.listing import Asked

_TYPES: Final[Mapping[str, frozenset[str]]] = {"volume": frozenset({"block-storage", "volumev3", "volume"})}
"""The types of a service, where that is not its name."""
MOST_PATH: Final = 512
"""Characters of a path that is compared with rules; no route has a longer one."""


class Request(NamedTuple):
    """What is asked of which service. `prefix` is where it is mounted, and is not in `path`."""

    service: str
    method: str
    path: str
    prefix: str


def refuse_beyond(rules: Sequence[AccessRule], request: Request) -> None:
    """Raises: Unauthorized unless one of the rules is about the request; whose the token is may always be asked."""
    if request.service == "identity" and request.method == "GET" and request.path == "/v3/auth/tokens":
        return
    types = _TYPES.get(request.service, {request.service})
    for rule in rules:
        mounted = request.prefix if rule.path.startswith(request.prefix + "/") else ""
        if rule.service in types and rule.method == request.method and matches(rule.path, mounted + request.path):
            return
    raise Unauthorized(
        f"The access rules of the application credential do not allow {request.method} {request.path[:200]} of "
        f"{request.service or 'this service'}."
    )


def matches(pattern: str, path: str) -> bool:
    """Whether the whole path looks like the pattern. A slash at the end of either says nothing.

    It takes as long as the path is, whatever the pattern: a user writes it, and a regular expression of many stars
    would hold everybody up.
    """
    if len(path) > MOST_PATH:
        return False
    shape = _shape(pattern)
    # The places in the pattern that may be reached after what was read: bit n is before piece n.
    here = 1 | (1 & shape.anything) << 1
    for character in path.rstrip("/") or "/":
        within = here & shape.within if character != "/" else 0
        here = here & shape.anything | within | within << 1 | (here & shape.literal.get(character, 0)) << 1
        here |= (here & shape.anything) << 1  # it may be nothing
        if not here:
            return False
    return bool(here & shape.end)


class _Shape(NamedTuple):
    """A pattern's pieces, each a bit."""

    literal: Mapping[str, int]
    within: int
    """Those of something between two slashes."""
    anything: int
    """Those of `**`; no two stand side by side."""
    end: int


@lru_cache(maxsize=1024)
def _shape(pattern: str) -> _Shape:
    text = re.sub(r"(\*\*)+", "**", pattern.rstrip("/") or "/")
    literal: dict[str, int] = {}
    within = anything = 0
    bit = 1
    for piece in re.findall(r"\{[^}]*\}|\*\*|\*|[^{}*]", text):
        if piece == "**":
            anything |= bit
        elif piece[0] in "*{":
            within |= bit
        else:
            literal[piece] = literal.get(piece, 0) | bit
        bit <<= 1
    return _Shape(literal, within, anything, bit)


def listed_rules(tx: Tx, asked: Asked, user_id: str) -> tuple[Sequence[Mapping[str, object]], bool]:
    """The user's that are asked for, and whether there are more."""
    return listed(tx, ACCESS_RULE, access_rules, asked, [access_rules.c.user_id == user_id])


def find_rule(tx: Tx, user_id: str, id: str) -> AccessRuleRow:
    """Raises: NotFound, also for another user's."""
    row = query.row_by_id(tx, access_rules, id, access_rules.c.user_id == user_id)
    if row is None:
        raise _missing(id)
    return row


def remove_rule(tx: Tx, row: AccessRuleRow) -> None:
    """Raises: Forbidden while an application credential names it."""
    table = application_credentials
    if any(
        row["id"] in (each["access_rules"] or ()) for each in query.rows(tx, table, table.c.user_id == row["user_id"])
    ):
        raise Forbidden("May not delete access rule in use", type="Forbidden")
    query.remove(tx, access_rules, row["id"])


def ids_for(tx: Tx, user_id: str, wanted: Sequence[Mapping[str, str]] | None) -> list[str] | None:
    """Ids of the rules that a body asks for, each made where the user has none like it; None when it asks for none.

    Raises: NotFound for the id of another user's; BadRequest for a rule that is not whole.
    """
    if not wanted:
        return None
    own = query.rows(tx, access_rules, access_rules.c.user_id == user_id)
    alike = {(row["service"], row["method"], row["path"]): str(row["id"]) for row in own}
    result: dict[str, None] = {}
    for item in wanted:
        id = item.get("id")
        if id is not None and (row := query.row_by_id(tx, access_rules, id)) is not None:
            if row["user_id"] != user_id:
                raise _missing(id)
            result[id] = None
            continue
        lacking = [name for name in ("service", "method", "path") if name not in item]
        if lacking:
            if id is not None:
                raise _missing(id)
            raise BadRequest(
                f"Invalid input for field 'access_rules': {lacking[0]!r} is a required property", type="ValidationError"
            )
        key = (item["service"], item["method"], item["path"])
        if key not in alike:
            alike[key] = id or new_id()
            values = {"id": alike[key], "user_id": user_id, "service": key[0], "method": key[1], "path": key[2]}
            query.add(tx, access_rules, values)
        result[alike[key]] = None
    return list(result)


def with_ids(tx: Tx, ids: Sequence[str]) -> list[AccessRuleRow]:
    """The rules in the order of their ids."""
    return query.rows(tx, access_rules, query.any_of(access_rules.c.id, ids), order_by=(access_rules.c.id,))


def rules_of(tx: Tx, ids: Sequence[str]) -> tuple[AccessRule, ...]:
    """The same as a caller carries them."""
    return tuple(AccessRule(row["service"], row["method"], row["path"]) for row in with_ids(tx, ids))


def brief(rows: Sequence[AccessRuleRow]) -> list[dict[str, object]]:
    """As an application credential shows them."""
    return [{name: row[name] for name in ("id", "path", "method", "service")} for row in rows]


def _missing(id: str) -> NotFound:
    return NotFound(f"Could not find Access Rule: {id}.", type="AccessRuleNotFound")
