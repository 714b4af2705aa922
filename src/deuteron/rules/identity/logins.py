"""Logging in: whose secret was given, what still holds when a token is issued, and what the token is for.

Making a token takes two steps, so that the slow one holds neither a transaction nor the writer: compare the
secrets with their hashes, then issue. Nothing that a token stands on is carried from the first to the second but
which hash was compared: the transaction that issues reads the hash again, and user, domain, scope, roles,
application credential and parent token there for the first time. Who fails learns only that it failed: an unknown
user, a wrong password and a disabled account cost the same time and give the same answer.

What is given are the objects of the request's `auth`, as JSON has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select

from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest, Forbidden, NotFound, Unauthorized
from deuteron.model.settings import IdentityOptions, Operator, SecurityCompliance
from deuteron.rules.identity import accounts, totp
from deuteron.rules.identity.delegations import Delegation, delegation, use
from deuteron.rules.identity.effective import SYSTEM, roles_on
from deuteron.rules.identity.factors import proven_before, refuse_insufficient
from deuteron.rules.identity.rows import Secret, find
from deuteron.rules.identity.tokens import REFUSED, UNSCOPED, Proof, Scope, Tokens, live_project
from deuteron.rules.identity.users import generation, inactive_among
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import application_credentials, credentials, projects, users

TRUST: Final = "OS-TRUST:trust"
"""The scope of a trust."""


@dataclass(frozen=True)
class Login:
    """Whose secret was given, and the hash it was compared with: what the issuing transaction has to find again."""

    user_id: str | None = None
    stored_hash: str | None = None
    secret: str = ""
    credential_id: str | None = None
    code_of: Secret | None = None
    """The credential whose one-time password was given: then nothing is left to compare."""
    is_to_be_told: bool = False
    """Whether the row of the user changes with the login."""


def login(tx: Tx, operator: Operator, method: str, given: Any) -> Login:
    """Whose secret is given, by `password`, `application_credential` or `totp`.

    Raises: BadRequest for its form; Unauthorized for another method.
    """
    if method == "password":
        return _password_login(tx, operator.security_compliance, given)
    if method == "application_credential":
        return _credential_login(tx, given)
    if method == "totp":
        return _code_login(tx, operator.identity, given)
    raise Unauthorized(REFUSED)


def issue(
    tx: Tx,
    tokens: Tokens,
    asked: SecurityCompliance,
    auth: dict[str, Any],
    methods: tuple[str, ...],
    logins: Sequence[Login],
    receipt: str | None = None,
) -> tuple[str, Proof]:
    """A new token and what it is worth. All methods that are named must hold now, for one and the same user.

    Raises: Insufficient when the user has to prove more; Unauthorized; BadRequest for the scope's form; NotFound for a
    bad token in the token method, and for a bad receipt; Forbidden for one that may not be exchanged.
    """
    parent = tokens.prove(tx, auth["identity"]["token"]["id"]) if "token" in methods else None
    credential: Login | None = None
    user_ids = set() if parent is None else {parent.user.id}
    for each in logins:
        if not _still_holds(tx, each):
            raise Unauthorized(REFUSED)
        if each.credential_id is None and each.code_of is None:
            _refuse_account(tx, asked, each)
        user_ids.add(each.user_id or "")
        if each.credential_id is not None:
            credential = each
    if len(user_ids) != 1:
        raise Unauthorized(REFUSED)
    user_id = user_ids.pop()
    if inactive_among(tx, [user_id], asked):
        raise Unauthorized(REFUSED)
    if parent is not None:
        _refuse_exchange(parent, auth.get("scope"))
        methods = (*parent.payload.method_names, *methods)
    number = generation(tx, user_id)
    if receipt is not None:
        methods = (*proven_before(tokens, receipt, user_id, number, tx.now.timestamp()), *methods)
    options = tx.scalar(select(users.c.options).where(users.c.id == user_id))
    refuse_insufficient(options, user_id, methods, number)
    trust = _trusted(tx, auth, user_id, credential)
    if trust is None:
        scope = _scope(tx, auth.get("scope"), user_id, credential)
    else:
        scope = Scope("project", trust.trust["project_id"])
    text, _ = tokens.issue(
        user_id,
        methods,
        scope,
        generation=number,
        expires_s=parent.payload.expires_s if parent is not None else None,
        chain=parent.payload.audit_ids[-1] if parent is not None else None,
        credential_id=credential.credential_id if credential is not None else None,
        trust=trust,
    )
    try:
        # Whatever else it stands on, it is worth nothing if that is not so in this transaction.
        return text, tokens.prove(tx, text)
    except NotFound:
        raise Unauthorized(REFUSED) from None


def writes(auth: Mapping[str, object], logins: Sequence[Login] = ()) -> bool:
    """Whether making the token changes something: a trust may have so many uses, a user wrong passwords behind it."""
    scope = auth.get("scope")
    return (isinstance(scope, dict) and TRUST in scope) or any(each.is_to_be_told for each in logins)


def _refuse_exchange(parent: Proof, scope: object) -> None:
    """Raises: Forbidden for a token that may not be exchanged for another, as Keystone."""
    about = "You are not authorized to perform the requested action: "
    if parent.payload.trust is not None:
        raise Forbidden(
            f"{about}Using trust-scoped token to create another token. Create a new trust-scoped token instead.",
            type="Forbidden",
        )
    if parent.payload.is_delegated:
        raise Forbidden(f"{about}Using a delegated token to create another token is not allowed.", type="Forbidden")
    if parent.scope.kind == "system" and isinstance(scope, dict) and ("project" in scope or "domain" in scope):
        raise Forbidden(
            f"{about}Using a system-scoped token to create a project-scoped or domain-scoped token is not allowed.",
            type="Forbidden",
        )


def _trusted(tx: Tx, auth: Mapping[str, object], user_id: str, credential: Login | None) -> Delegation | None:
    """The trust that is asked for, used once more; None when none is.

    Raises: BadRequest for its form; Unauthorized for one that is not there or used up, and beside an application
    credential; Forbidden for one of others, or one that broke.
    """
    scope = auth.get("scope")
    if not isinstance(scope, dict) or TRUST not in scope:
        return None
    given = scope[TRUST]
    if len(scope) != 1 or not isinstance(given, dict) or not isinstance(given.get("id"), str):
        raise BadRequest("Expecting to find trust_id in trust.", type="ValidationError")
    if credential is not None:
        raise Unauthorized(REFUSED)
    try:
        found = delegation(tx, given["id"], user_id, tx.now.timestamp())
        use(tx, found.trust)
    except NotFound:
        raise Unauthorized(REFUSED) from None
    return found


def _refuse_account(tx: Tx, asked: SecurityCompliance, login: Login) -> None:
    """What is looked at of whoever gave its password. It is noted where the transaction may.

    Raises: Unauthorized when it is locked out or its password has ended.
    """
    row = find(tx, users, "user", login.user_id or "")
    if accounts.is_locked(row, asked, tx.now.timestamp()):
        raise Unauthorized(REFUSED)
    if row["enabled"]:
        accounts.refuse_expired(row, tx.now.timestamp())
    if tx.writable and not inactive_among(tx, [row["id"]], asked):
        accounts.succeed(tx, row, asked)


def _still_holds(tx: Tx, login: Login) -> bool:
    """Whether the hash that was compared is still the user's, or the application credential's."""
    if login.code_of is not None:
        found = tx.scalar(select(credentials.c.blob).where(credentials.c.id == login.code_of.id))
        return found is not None and found == login.code_of.text
    if login.credential_id is None:
        found = tx.scalar(select(users.c.password_hash).where(users.c.id == login.user_id))
    else:
        table = application_credentials
        found = tx.scalar(select(table.c.secret_hash).where(table.c.id == login.credential_id))
    return found is not None and found == login.stored_hash


def _password_login(tx: Tx, asked: SecurityCompliance, given: dict[str, Any]) -> Login:
    user = given.get("user")
    if not isinstance(user, dict):
        raise BadRequest("Expecting to find user in password.", type="ValidationError")
    password = user.get("password")
    if not isinstance(password, str):
        raise BadRequest("Expecting to find password in user.", type="ValidationError")
    row = _find_user(tx, user)
    if row is None:
        return Login(secret=password)
    is_to_be_told = accounts.is_to_be_told(query.row_by_id(tx, users, row.id), asked, tx.now.date())
    return Login(row.id, row.password_hash, password, is_to_be_told=is_to_be_told)


def _code_login(tx: Tx, options: IdentityOptions, given: Mapping[str, object]) -> Login:
    user = given.get("user")
    if not isinstance(user, dict):
        raise BadRequest("Expecting to find user in totp.", type="ValidationError")
    code = user.get("passcode")
    if not isinstance(code, str):
        raise BadRequest("Expecting to find passcode in user.", type="ValidationError")
    row = _find_user(tx, user)
    if row is None:
        return Login()
    return Login(row.id, code_of=totp.proving(tx, row.id, code, options.totp_included_previous_windows))


def _find_user(tx: Tx, given: dict[str, Any]) -> Row[Any] | None:
    """The user that is named by id, or by name and domain; None if there is none. Raises: BadRequest for its form."""
    if isinstance(given.get("id"), str):
        return tx.first(select(users).where(users.c.id == given["id"]))
    if not isinstance(given.get("name"), str):
        raise BadRequest("Expecting to find id or name in user.", type="ValidationError")
    domain_id = _domain_id(tx, given.get("domain"), "user")
    if domain_id is None:
        return None
    return tx.first(select(users).where(users.c.name == given["name"], users.c.domain_id == domain_id))


def _credential_login(tx: Tx, given: dict[str, Any]) -> Login:
    secret = given.get("secret")
    if not isinstance(secret, str):
        raise BadRequest("Expecting to find secret in application_credential.", type="ValidationError")
    table = application_credentials
    if isinstance(given.get("id"), str):
        row = tx.first(select(table).where(table.c.id == given["id"]))
    elif isinstance(given.get("name"), str) and isinstance(given.get("user"), dict):
        owner = _find_user(tx, given["user"])
        if owner is None:
            return Login(secret=secret)
        row = tx.first(select(table).where(table.c.user_id == owner.id, table.c.name == given["name"]))
    else:
        raise BadRequest("Expecting to find id, or name and user, in application_credential.", type="ValidationError")
    if row is None:
        return Login(secret=secret)
    return Login(row.user_id, row.secret_hash, secret, credential_id=row.id)


def _domain_id(tx: Tx, given: Any, what: str) -> str | None:
    if not isinstance(given, dict) or not (isinstance(given.get("id"), str) or isinstance(given.get("name"), str)):
        raise BadRequest(f"Expecting to find domain in {what}.", type="ValidationError")
    if isinstance(given.get("id"), str):
        return str(given["id"])
    row = tx.first(
        select(projects.c.id).where(
            projects.c.name == given["name"], projects.c.is_domain.is_(True), projects.c.domain_id.is_(None)
        )
    )
    return None if row is None else str(row.id)


def _scope(tx: Tx, given: Any, user_id: str, credential: Login | None) -> Scope:
    """The scope that is asked for, or the one that follows from the method. Raises: Unauthorized, BadRequest."""
    if credential is not None:
        if given is not None:
            raise Unauthorized(REFUSED)
        table = application_credentials
        return Scope(
            "project", tx.scalar(select(table.c.project_id).where(table.c.id == credential.credential_id)) or ""
        )
    if given is None:
        default = tx.scalar(select(users.c.default_project_id).where(users.c.id == user_id))
        if default and live_project(tx, default) is not None and roles_on(tx, user_id, "project", default):
            return Scope("project", default)
        return UNSCOPED
    if given == "unscoped":
        return UNSCOPED
    if not isinstance(given, dict) or len(given) != 1:
        raise BadRequest(
            "Invalid input for field 'scope': exactly one of project, domain, system is expected",
            type="ValidationError",
        )
    if "unscoped" in given:
        return UNSCOPED
    if "system" in given:
        if not isinstance(given["system"], dict) or given["system"].get("all") is not True:
            raise BadRequest("Invalid input for field 'scope/system': 'all' must be true", type="ValidationError")
        scope = Scope("system", SYSTEM)
    elif "project" in given:
        scope = Scope("project", _scoped_project(tx, given["project"]))
    elif "domain" in given:
        scope = Scope("domain", _domain_id(tx, given["domain"], "scope") or "")
    else:
        raise BadRequest(
            f"Invalid input for field 'scope': {quoted(next(iter(given)))} is not supported", type="ValidationError"
        )
    if scope.kind != "system" and live_project(tx, scope.id) is None:
        raise Unauthorized(REFUSED)
    if not roles_on(tx, user_id, scope.kind, scope.id):
        raise Unauthorized(REFUSED)
    return scope


def _scoped_project(tx: Tx, given: Any) -> str:
    if not isinstance(given, dict):
        raise BadRequest("Expecting to find project in scope.", type="ValidationError")
    if isinstance(given.get("id"), str):
        return str(given["id"])
    if not isinstance(given.get("name"), str):
        raise BadRequest("Expecting to find id or name in project.", type="ValidationError")
    domain_id = _domain_id(tx, given.get("domain"), "project")
    row = tx.first(select(projects.c.id).where(projects.c.name == given["name"], projects.c.domain_id == domain_id))
    if row is None:
        raise Unauthorized(REFUSED)
    return str(row.id)
