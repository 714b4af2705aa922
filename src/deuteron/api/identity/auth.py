"""`/v3/auth`: making, checking and revoking tokens; what a token's owner may scope to.

Making a token takes two steps, so that the slow one holds neither a transaction nor the writer: compare the
secrets with their hashes, then issue. Nothing that a token stands on is carried from the first to the second but
which hash was compared: the transaction that issues reads the hash again, and user, domain, scope, roles,
application credential and parent token there for the first time. Who fails learns only that it failed: an unknown
user, a wrong password and a disabled account cost the same time and give the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, root, shown
from deuteron.api.identity.catalog import catalog
from deuteron.api.identity.policies import require
from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest, Forbidden, NotFound, Unauthorized
from deuteron.model.identity import DOMAIN, PROJECT
from deuteron.rules.identity.effective import SYSTEM, roles_on, targets_of
from deuteron.rules.identity.passwords import Workers, verify_password
from deuteron.rules.identity.tokens import REFUSED, UNSCOPED, Proof, Scope, live_project, timestamp
from deuteron.store.database import Tx
from deuteron.store.identity_tables import application_credentials, projects, users

MAX_METHODS = 8


@dataclass(frozen=True)
class Login:
    """Whose secret was given, and the hash it was compared with: what the issuing transaction has to find again."""

    user_id: str | None = None
    stored_hash: str | None = None
    secret: str = ""
    credential_id: str | None = None


async def create_token(call: Call, workers: Workers) -> Reply:
    """POST /v3/auth/tokens.

    Raises: BadRequest for its form; Unauthorized; NotFound for a bad token in the token method.
    """
    await call.read_body()
    auth = call.wrapped("auth")
    identity = auth.get("identity")
    if not isinstance(identity, dict) or not isinstance(identity.get("methods"), list):
        raise BadRequest("Invalid input for field 'identity': 'methods' is a required property", type="ValidationError")
    if len(identity["methods"]) > MAX_METHODS:
        raise BadRequest(
            f"Invalid input for field 'identity/methods': the list holds {len(identity['methods'])} items, at most "
            f"{MAX_METHODS} are accepted",
            type="ValidationError",
        )
    methods = [name for name in identity["methods"] if isinstance(name, str)]
    if not methods:
        raise BadRequest("Invalid input for field 'identity/methods': [] is too short", type="ValidationError")
    named = tuple(dict.fromkeys(methods))
    logins = await workers.run(lambda: _compare(call, identity, named))
    return await workers.run(lambda: _issue(call, auth, identity, named, logins))


def check_token(call: Call, tx: Tx) -> Reply:
    """GET and HEAD /v3/auth/tokens."""
    proof = _subject(call, tx)
    rule = "check_token" if call.method == "HEAD" else "validate_token"
    require(call, rule, {"target.token.user_id": proof.user.id})
    body = token_body(call, tx, proof, with_catalog=call.get("nocatalog") is None)
    return Reply(200, {"token": body}, _token_headers(_subject_text(call)))


def revoke_token(call: Call, tx: Tx) -> Reply:
    """DELETE /v3/auth/tokens."""
    proof = _subject(call, tx)
    require(call, "revoke_token", {"target.token.user_id": proof.user.id})
    call.parts.tokens.revoke(tx, proof)
    return Reply(204)


def show_catalog(call: Call, tx: Tx) -> Reply:
    found = catalog(call, tx, call.caller.user_id, call.caller.project_id)
    here = f"{root(call)}/v3/auth/catalog"
    return Reply(200, {"catalog": found, "links": {"next": None, "self": here, "previous": None}})


def list_projects(call: Call, tx: Tx) -> Reply:
    """The projects that the caller may scope to."""
    ids = targets_of(tx, call.caller.user_id, "project")
    return page(call, "projects", _live(call, tx, ids, is_domain=False))


def list_domains(call: Call, tx: Tx) -> Reply:
    ids = targets_of(tx, call.caller.user_id, "domain")
    return page(call, "domains", _live(call, tx, ids, is_domain=True))


def list_system(call: Call, tx: Tx) -> Reply:
    found = [{"all": True}] if roles_on(tx, call.caller.user_id, "system", SYSTEM) else []
    return Reply(200, {"system": found, "links": {"self": f"{root(call)}/v3/auth/system"}})


def token_body(call: Call, tx: Tx, proof: Proof, *, with_catalog: bool) -> dict[str, Any]:
    """The token as answers show it."""
    payload = proof.payload
    body: dict[str, Any] = {
        "methods": payload.method_names,
        "user": {
            "domain": {"id": proof.user.domain_id, "name": proof.user.domain_name},
            "id": proof.user.id,
            "name": proof.user.name,
            "password_expires_at": None,
        },
        "audit_ids": list(payload.audit_ids),
        "expires_at": timestamp(payload.expires_s),
        "issued_at": timestamp(payload.issued_us / 1_000_000),
    }
    if proof.scope.kind == "project" and proof.target is not None:
        body["project"] = {
            "domain": {"id": proof.target.domain_id, "name": proof.target.domain_name},
            "id": proof.target.id,
            "name": proof.target.name,
        }
        body["is_domain"] = proof.is_domain
    elif proof.scope.kind == "domain" and proof.target is not None:
        body["domain"] = {"id": proof.target.id, "name": proof.target.name}
    elif proof.scope.kind == "system":
        body["system"] = {"all": True}
    if proof.scope.kind != "unscoped":
        body["roles"] = [{"id": id, "name": name} for id, name in proof.roles.items()]
        if with_catalog:
            project_id = proof.scope.id if proof.scope.kind == "project" else None
            body["catalog"] = catalog(call, tx, proof.user.id, project_id)
    if payload.credential_id is not None:
        body["application_credential"] = {
            "id": payload.credential_id,
            "name": proof.credential_name,
            "restricted": not proof.credential_unrestricted,
        }
    return body


def _compare(call: Call, identity: dict[str, Any], methods: tuple[str, ...]) -> tuple[Login, ...]:
    """Who gave the right secrets. Raises: BadRequest; Unauthorized, after all were compared."""
    logins: list[Login] = []
    failed = False
    for method in methods:
        given = identity.get(method)
        if not isinstance(given, dict):
            raise BadRequest(f"Expecting to find {method} in identity.", type="ValidationError")
        if method == "token":
            if not isinstance(given.get("id"), str):
                raise BadRequest("Invalid input for field 'identity/token': 'id' is a required property")
            continue
        if method not in ("password", "application_credential"):
            raise Unauthorized(REFUSED)
        with call.store.read() as tx:
            login = _password_login(tx, given) if method == "password" else _credential_login(tx, given)
        if verify_password(login.secret, login.stored_hash):
            logins.append(login)
        else:
            failed = True
    if failed:
        raise Unauthorized(REFUSED)
    return tuple(logins)


def _issue(
    call: Call, auth: dict[str, Any], identity: dict[str, Any], methods: tuple[str, ...], logins: tuple[Login, ...]
) -> Reply:
    """The token. All methods that are named must hold now, for one and the same user.

    Raises: Unauthorized; BadRequest for the scope's form; NotFound for a bad token in the token method; Forbidden for
    one that may not be exchanged.
    """
    with call.store.read() as tx:
        parent = call.parts.tokens.prove(tx, identity["token"]["id"]) if "token" in methods else None
        credential: Login | None = None
        user_ids = set() if parent is None else {parent.user.id}
        for login in logins:
            if not _still_holds(tx, login):
                raise Unauthorized(REFUSED)
            user_ids.add(login.user_id or "")
            if login.credential_id is not None:
                credential = login
        if len(user_ids) != 1:
            raise Unauthorized(REFUSED)
        user_id = user_ids.pop()
        if parent is not None:
            _refuse_exchange(parent, auth.get("scope"))
        scope = _scope(tx, auth.get("scope"), user_id, credential)
        all_methods = methods if parent is None else (*parent.payload.method_names, *methods)
        inherited = credential.credential_id if credential is not None else None
        text, _ = call.parts.tokens.issue(
            user_id,
            tuple(all_methods),
            scope,
            generation=tx.scalar(select(users.c.tokens_valid_after_us).where(users.c.id == user_id)) or 0,
            expires_s=parent.payload.expires_s if parent is not None else None,
            chain=parent.payload.audit_ids[-1] if parent is not None else None,
            credential_id=inherited,
        )
        try:
            # Whatever else it stands on, it is worth nothing if that is not so in this transaction.
            proof = call.parts.tokens.prove(tx, text)
        except NotFound:
            raise Unauthorized(REFUSED) from None
        body = token_body(call, tx, proof, with_catalog=call.get("nocatalog") is None)
    return Reply(201, {"token": body}, _token_headers(text))


def _refuse_exchange(parent: Proof, scope: Any) -> None:
    """Raises: Forbidden for a token that may not be exchanged for another, as Keystone."""
    about = "You are not authorized to perform the requested action: "
    if parent.payload.is_delegated:
        raise Forbidden(f"{about}Using a delegated token to create another token is not allowed.", type="Forbidden")
    if parent.scope.kind == "system" and isinstance(scope, dict) and ("project" in scope or "domain" in scope):
        raise Forbidden(
            f"{about}Using a system-scoped token to create a project-scoped or domain-scoped token is not allowed.",
            type="Forbidden",
        )


def _still_holds(tx: Tx, login: Login) -> bool:
    """Whether the hash that was compared is still the user's, or the application credential's."""
    if login.credential_id is None:
        found = tx.scalar(select(users.c.password_hash).where(users.c.id == login.user_id))
    else:
        table = application_credentials
        found = tx.scalar(select(table.c.secret_hash).where(table.c.id == login.credential_id))
    return found is not None and found == login.stored_hash


def _password_login(tx: Tx, given: dict[str, Any]) -> Login:
    user = given.get("user")
    if not isinstance(user, dict):
        raise BadRequest("Expecting to find user in password.", type="ValidationError")
    password = user.get("password")
    if not isinstance(password, str):
        raise BadRequest("Expecting to find password in user.", type="ValidationError")
    row = find_user(tx, user)
    if row is None:
        return Login(secret=password)
    return Login(row.id, row.password_hash, password)


def find_user(tx: Tx, given: dict[str, Any]) -> Any:
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
        owner = find_user(tx, given["user"])
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


def _subject(call: Call, tx: Tx) -> Proof:
    return call.parts.tokens.prove(tx, _subject_text(call))


def _subject_text(call: Call) -> str:
    text = call.headers.get("x-subject-token")
    if not text:
        raise NotFound("Could not find token: No token in the request.", type="TokenNotFound")
    return text


def _token_headers(text: str) -> dict[str, str]:
    return {"X-Subject-Token": text, "vary": "X-Auth-Token"}


def _live(call: Call, tx: Tx, ids: list[str], *, is_domain: bool) -> list[dict[str, Any]]:
    rows = tx.all(
        select(projects).where(projects.c.id.in_(ids), projects.c.enabled.is_(True)).order_by(projects.c.name)
    )
    resource = DOMAIN if is_domain else PROJECT
    return [shown(call, resource, row) for row in rows if bool(row.is_domain) == is_domain]
