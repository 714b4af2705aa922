"""The requests at `/v3/auth`: making, checking and revoking tokens; what a token's owner may scope to."""

from __future__ import annotations

import functools
import re
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, root, shown
from deuteron.api.identity.policies import require
from deuteron.model.errors import BadRequest, NotFound, Unauthorized
from deuteron.model.identity import DOMAIN, PROJECT
from deuteron.rules.identity import accounts, logins, projects
from deuteron.rules.identity.access_rules import brief, with_ids
from deuteron.rules.identity.catalog import catalog
from deuteron.rules.identity.effective import SYSTEM, roles_on, targets_of
from deuteron.rules.identity.factors import Insufficient, seal
from deuteron.rules.identity.logins import Login
from deuteron.rules.identity.passwords import Workers, verify_password
from deuteron.rules.identity.times import timestamp
from deuteron.rules.identity.tokens import REFUSED, Proof
from deuteron.rules.identity.users import password_end, user_shown
from deuteron.store.database import Tx

MAX_METHODS = 8


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
    proven = await workers.run(lambda: _compare(call, identity, named))
    return await workers.run(lambda: _issue(call, auth, named, proven))


def check_token(call: Call, tx: Tx) -> Reply:
    """GET and HEAD /v3/auth/tokens."""
    proof = _subject(call, tx)
    rule = "check_token" if call.method == "HEAD" else "validate_token"
    require(call, rule, {"target.token.user_id": proof.user.id})
    if proof.caller.access_rules is not None and not _understands_access_rules(call):
        # Whoever asks would let the token do everything.
        raise NotFound("Failed to validate token", type="TokenNotFound")
    body = token_body(call, tx, proof, with_catalog=call.get("nocatalog") is None)
    return Reply(200, {"token": body}, _token_headers(_subject_text(call)))


def revoke_token(call: Call, tx: Tx) -> Reply:
    """DELETE /v3/auth/tokens."""
    proof = _subject(call, tx)
    require(call, "revoke_token", {"target.token.user_id": proof.user.id})
    call.parts.tokens.revoke(tx, proof)
    return Reply(204)


def show_catalog(call: Call, tx: Tx) -> Reply:
    found = _catalog(call, tx, call.caller.user_id, call.caller.project_id)
    here = f"{root(call)}/v3/auth/catalog"
    return Reply(200, {"catalog": found, "links": {"next": None, "self": here, "previous": None}})


def list_projects(call: Call, tx: Tx) -> Reply:
    """The projects that the caller may scope to."""
    rows = projects.live(tx, targets_of(tx, call.caller.user_id, "project"), is_domain=False)
    return page(call, "projects", [shown(call, PROJECT, row) for row in rows])


def list_domains(call: Call, tx: Tx) -> Reply:
    rows = projects.live(tx, targets_of(tx, call.caller.user_id, "domain"), is_domain=True)
    return page(call, "domains", [shown(call, DOMAIN, row) for row in rows])


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
            "password_expires_at": password_end(tx, proof.user.id),
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
        if proof.trust is not None:
            trust = proof.trust.trust
            body["OS-TRUST:trust"] = {
                "id": trust["id"],
                "trustor_user": {"id": trust["trustor_user_id"]},
                "trustee_user": {"id": trust["trustee_user_id"]},
                "impersonation": trust["impersonation"],
            }
    elif proof.scope.kind == "domain" and proof.target is not None:
        body["domain"] = {"id": proof.target.id, "name": proof.target.name}
    elif proof.scope.kind == "system":
        body["system"] = {"all": True}
    if proof.scope.kind != "unscoped":
        body["roles"] = [{"id": id, "name": name} for id, name in proof.roles.items()]
        if with_catalog:
            project_id = proof.scope.id if proof.scope.kind == "project" else None
            body["catalog"] = _catalog(call, tx, proof.user.id, project_id)
    if payload.credential_id is not None:
        body["application_credential"] = {
            "id": payload.credential_id,
            "name": proof.credential_name,
            "restricted": not proof.credential_unrestricted,
        }
        if proof.caller.access_rules is not None:
            body["application_credential"]["access_rules"] = brief(with_ids(tx, proof.access_rule_ids))
    return body


def _compare(call: Call, identity: dict[str, Any], methods: tuple[str, ...]) -> tuple[Login, ...]:
    """Who gave the right secrets. Raises: BadRequest; Unauthorized, after all were compared."""
    asked = call.settings.operator.security_compliance
    found: list[Login] = []
    failed = False
    for method in methods:
        given = identity.get(method)
        if not isinstance(given, dict):
            raise BadRequest(f"Expecting to find {method} in identity.", type="ValidationError")
        if method == "token":
            if not isinstance(given.get("id"), str):
                raise BadRequest("Invalid input for field 'identity/token': 'id' is a required property")
            continue
        with call.store.read() as tx:
            login = logins.login(tx, call.settings.operator, method, given)
        if login.code_of is not None or (method != "totp" and verify_password(login.secret, login.stored_hash)):
            found.append(login)
        else:
            failed = True
            if asked.lockout_failure_attempts is not None and login.user_id is not None and method == "password":
                call.store.write(functools.partial(accounts.fail, user_id=login.user_id, asked=asked))
    if failed:
        raise Unauthorized(REFUSED)
    return tuple(found)


def _issue(call: Call, auth: dict[str, Any], methods: tuple[str, ...], proven: tuple[Login, ...]) -> Reply:
    """The token. Raises: what `logins.issue` does."""

    asked = call.settings.operator.security_compliance

    receipt = call.headers.get("openstack-auth-receipt")

    def issue(tx: Tx) -> Reply:
        try:
            text, proof = logins.issue(tx, call.parts.tokens, asked, auth, methods, proven, receipt)
        except Insufficient as found:
            return _receipt(call, tx, found)
        body = token_body(call, tx, proof, with_catalog=call.get("nocatalog") is None)
        return Reply(201, {"token": body}, _token_headers(text))

    if logins.writes(auth, proven):
        return call.store.write(issue)
    with call.store.read() as reading:
        return issue(reading)


def _receipt(call: Call, tx: Tx, found: Insufficient) -> Reply:
    """The answer to who has to prove more: what it proved, and by which methods it may go on."""
    expiration = call.settings.operator.identity.receipt_expiration
    text, made = seal(call.parts.tokens, found, tx.now.timestamp(), expiration)
    body = {
        "methods": list(made.methods),
        "user": user_shown(tx, made.user_id),
        "expires_at": timestamp(made.expires_s),
        "issued_at": timestamp(made.issued_s),
    }
    return Reply(401, {"receipt": body, "required_auth_methods": found.rules}, {"Openstack-Auth-Receipt": text})


def _catalog(call: Call, tx: Tx, user_id: str, project_id: str | None) -> list[dict[str, Any]]:
    return catalog(tx, call.settings.endpoint, call.base_url, user_id, project_id)


def _understands_access_rules(call: Call) -> bool:
    """Whether the client says that it looks at them, as services' middleware does."""
    said = call.headers.get("openstack-identity-access-rules", "")
    return re.fullmatch(r"[1-9]\d{0,8}(\.\d{0,9})?", said) is not None


def _subject(call: Call, tx: Tx) -> Proof:
    return call.parts.tokens.prove(tx, _subject_text(call))


def _subject_text(call: Call) -> str:
    text = call.headers.get("x-subject-token")
    if not text:
        raise NotFound("Could not find token: No token in the request.", type="TokenNotFound")
    return text


def _token_headers(text: str) -> dict[str, str]:
    return {"X-Subject-Token": text, "vary": "X-Auth-Token"}
