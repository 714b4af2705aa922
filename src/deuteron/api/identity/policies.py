"""The identity service's default policy: Keystone's rule names, rules and the scopes that tokens must have for them.

`target.user.id` and the like are what the functions below put into the target: always of the object that the request
is about, read in the same transaction; what is not there has no target, so that only an administrator learns that.
An operator's `policy.yaml` overrides rules by name.

Two deviations from Keystone, both about a domain's admin, whom Keystone's `admin_required` takes for the cloud's: here
`admin` on a domain is worth what `manager` is, in that domain; and it may grant its domain's own roles, and of the
global ones those that a manager may, else it could make itself an administrator of the cloud on one of its projects.

Source: keystone 30.0.0, keystone/common/policies/*.py; tests/unit/personas/ compares each rule with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call
from deuteron.api.policy import Rule
from deuteron.model.errors import Forbidden
from deuteron.rules.identity import targets
from deuteron.rules.identity.targets import Owned
from deuteron.store.database import Tx

_ADMIN = "rule:admin_required"
_READER = f"{_ADMIN} or (role:reader and system_scope:all)"
_SELF = "user_id:%(target.user.id)s"
_OWNER = "user_id:%(user_id)s"
_CREDENTIAL_OWNER = "user_id:%(target.credential.user_id)s"
_TRUSTOR = "user_id:%(target.trust.trustor_user_id)s"
_TRUSTEE = "user_id:%(target.trust.trustee_user_id)s"
_TOKEN_SUBJECT = "user_id:%(target.token.user_id)s"

_CLOUD = ("system", "project")
_ALL = ("system", "domain", "project")


def _in_domain(role: str, *names: str) -> str:
    """The role in the domain that each of the target's names is."""
    return " and ".join([f"role:{role}", *(f"domain_id:%({name})s" for name in names)])


def _grants(role: str) -> str:
    """The role in the domain of both the user or group and the project or domain."""
    pairs = [(actor, place) for actor in ("user", "group") for place in ("project.domain_id", "domain.id")]
    return " or ".join(
        f"({_in_domain(role, f'target.{actor}.domain_id', f'target.{place}')})" for actor, place in pairs
    )


_OF_PROJECT = "domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s"
_GET_PROJECT = f"{_READER} or (role:reader and {_OF_PROJECT}) or project_id:%(target.project.id)s"
_CHANGE_PROJECT = f"{_ADMIN} or (role:manager and {_OF_PROJECT})"
_CHANGE_USER = f"{_ADMIN} or ({_in_domain('manager', 'target.user.domain_id')})"
_CHANGE_GROUP = f"{_ADMIN} or ({_in_domain('manager', 'target.group.domain_id')})"
_CHANGE_MEMBER = f"{_ADMIN} or ({_in_domain('manager', 'target.group.domain_id', 'target.user.domain_id')})"
_LIST_ASSIGNMENTS = f"{_READER} or ({_in_domain('reader', 'target.domain_id')} and not None:%(target.domain_id)s)"
_CHANGE_GRANT = (
    f"{_ADMIN} or (({_grants('admin')}) and domain_id:%(target.role.domain_id)s)"
    f" or (({_grants('manager')}) and rule:domain_managed_target_role)"
)
_GET_APPLICATION_CREDENTIAL = f"{_READER} or {_OWNER}"

_RULES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "validate_token": (f"{_READER} or role:service or {_TOKEN_SUBJECT}", _ALL),
    "check_token": (f"{_READER} or {_TOKEN_SUBJECT}", _ALL),
    "revoke_token": (f"{_ADMIN} or {_TOKEN_SUBJECT}", _ALL),
    "get_domain": (
        f"{_READER} or token.domain.id:%(target.domain.id)s or token.project.domain.id:%(target.domain.id)s",
        _ALL,
    ),
    "list_domains": (f"{_READER} or ({_in_domain('reader', 'target.domain.id')})", _ALL),
    "create_domain": (_ADMIN, _CLOUD),
    "update_domain": (_ADMIN, _CLOUD),
    "delete_domain": (_ADMIN, _CLOUD),
    "get_project": (_GET_PROJECT, _ALL),
    "list_projects": (f"{_READER} or ({_in_domain('reader', 'target.domain_id')})", _ALL),
    "list_user_projects": (f"{_READER} or ({_in_domain('reader', 'target.user.domain_id')}) or {_SELF}", _ALL),
    "create_project": (_CHANGE_PROJECT, _ALL),
    "update_project": (_CHANGE_PROJECT, _ALL),
    "delete_project": (_CHANGE_PROJECT, _ALL),
    "list_project_tags": (_GET_PROJECT, _ALL),
    "get_project_tag": (_GET_PROJECT, _ALL),
    "update_project_tags": (_CHANGE_PROJECT, _ALL),
    "create_project_tag": (_CHANGE_PROJECT, _ALL),
    "delete_project_tags": (_CHANGE_PROJECT, _ALL),
    "delete_project_tag": (_CHANGE_PROJECT, _ALL),
    "get_user": (f"{_READER} or ({_in_domain('reader', 'target.user.domain_id')}) or {_SELF}", _ALL),
    "list_users": (f"{_READER} or ({_in_domain('reader', 'target.domain_id')})", _ALL),
    "create_user": (_CHANGE_USER, _ALL),
    "update_user": (_CHANGE_USER, _ALL),
    "delete_user": (_CHANGE_USER, _ALL),
    "get_group": (f"{_READER} or ({_in_domain('reader', 'target.group.domain_id')})", _ALL),
    "list_groups": (f"{_READER} or ({_in_domain('reader', 'target.group.domain_id')})", _ALL),
    "list_groups_for_user": (f"{_READER} or ({_in_domain('reader', 'target.user.domain_id')}) or {_OWNER}", _ALL),
    "create_group": (_CHANGE_GROUP, _ALL),
    "update_group": (_CHANGE_GROUP, _ALL),
    "delete_group": (_CHANGE_GROUP, _ALL),
    "list_users_in_group": (f"{_READER} or ({_in_domain('reader', 'target.group.domain_id')})", _ALL),
    "check_user_in_group": (
        f"{_READER} or ({_in_domain('reader', 'target.group.domain_id', 'target.user.domain_id')})",
        _ALL,
    ),
    "add_user_to_group": (_CHANGE_MEMBER, _ALL),
    "remove_user_from_group": (_CHANGE_MEMBER, _ALL),
    "get_role": (f"{_READER} or (role:manager and rule:domain_managed_target_role)", _ALL),
    "list_roles": (f"{_READER} or (role:manager and not domain_id:None)", _ALL),
    "create_role": (_ADMIN, _CLOUD),
    "update_role": (_ADMIN, _CLOUD),
    "delete_role": (_ADMIN, _CLOUD),
    "get_domain_role": (_READER, _CLOUD),
    "list_domain_roles": (_READER, _CLOUD),
    "create_domain_role": (_ADMIN, _CLOUD),
    "update_domain_role": (_ADMIN, _CLOUD),
    "delete_domain_role": (_ADMIN, _CLOUD),
    "get_implied_role": (_READER, _CLOUD),
    "check_implied_role": (_READER, _CLOUD),
    "list_implied_roles": (_READER, _CLOUD),
    "list_role_inference_rules": (_READER, _CLOUD),
    "create_implied_role": (_ADMIN, _CLOUD),
    "delete_implied_role": (_ADMIN, _CLOUD),
    "list_role_assignments": (_LIST_ASSIGNMENTS, _ALL),
    "list_role_assignments_for_tree": (_LIST_ASSIGNMENTS, _ALL),
    "check_grant": (
        f"{_READER} or (({_grants('reader')})"
        " and (domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s))",
        _ALL,
    ),
    "list_grants": (f"{_READER} or {_grants('reader')}", _ALL),
    "create_grant": (_CHANGE_GRANT, _ALL),
    "revoke_grant": (_CHANGE_GRANT, _ALL),
    **{
        f"{action}_system_grant{many}_for_{actor}": (_READER if action in ("list", "check") else _ADMIN, _CLOUD)
        for action, many in (("list", "s"), ("check", ""), ("create", ""), ("revoke", ""))
        for actor in ("user", "group")
    },
    **{
        f"{action}_{kind}": (_READER if action in ("get", "list") else _ADMIN, _CLOUD)
        for kind in ("service", "services", "endpoint", "endpoints")
        for action in (("list",) if kind.endswith("s") else ("get", "create", "update", "delete"))
    },
    "get_region": ("@", _ALL),
    "list_regions": ("@", _ALL),
    "create_region": (_ADMIN, _CLOUD),
    "update_region": (_ADMIN, _CLOUD),
    "delete_region": (_ADMIN, _CLOUD),
    "get_credential": (f"{_READER} or {_CREDENTIAL_OWNER}", _ALL),
    "list_credentials": (f"{_READER} or {_CREDENTIAL_OWNER}", _ALL),
    "create_credential": (f"{_ADMIN} or {_CREDENTIAL_OWNER}", _ALL),
    "update_credential": (f"{_ADMIN} or {_CREDENTIAL_OWNER}", _ALL),
    "delete_credential": (f"{_ADMIN} or {_CREDENTIAL_OWNER}", _ALL),
    "get_application_credential": (_GET_APPLICATION_CREDENTIAL, _CLOUD),
    "list_application_credentials": (_GET_APPLICATION_CREDENTIAL, _CLOUD),
    "create_application_credential": (_OWNER, ("project",)),
    "delete_application_credential": (f"{_ADMIN} or {_OWNER}", _CLOUD),
    "ec2_get_credential": (f"{_READER} or {_CREDENTIAL_OWNER}", _CLOUD),
    "ec2_list_credentials": (f"{_READER} or {_OWNER}", _CLOUD),
    "ec2_create_credential": (f"{_ADMIN} or (role:member and {_CREDENTIAL_OWNER})", _CLOUD),
    "ec2_delete_credential": (f"{_ADMIN} or (role:member and {_CREDENTIAL_OWNER})", _CLOUD),
    "ec2tokens_validate": (f"{_ADMIN} or role:service", _ALL),
    "s3tokens_validate": (f"{_ADMIN} or role:service", _ALL),
    **{
        name: (_READER if name.startswith(("list", "get", "check")) else _ADMIN, _CLOUD)
        for name in (
            "create_endpoint_group",
            "list_endpoint_groups",
            "get_endpoint_group",
            "update_endpoint_group",
            "delete_endpoint_group",
            "list_projects_associated_with_endpoint_group",
            "list_endpoints_associated_with_endpoint_group",
            "get_endpoint_group_in_project",
            "list_endpoint_groups_for_project",
            "add_endpoint_group_to_project",
            "remove_endpoint_group_from_project",
            "list_projects_for_endpoint",
            "add_endpoint_to_project",
            "check_endpoint_in_project",
            "list_endpoints_for_project",
            "remove_endpoint_from_project",
        )
    },
    "create_domain_config": (_ADMIN, _CLOUD),
    "get_domain_config": (_READER, _CLOUD),
    "get_domain_config_default": (_READER, _CLOUD),
    "get_security_compliance_domain_config": ("@", _ALL),
    "update_domain_config": (_ADMIN, _CLOUD),
    "delete_domain_config": (_ADMIN, _CLOUD),
    "get_limit_model": ("@", _ALL),
    "get_limit": (
        f"{_READER} or domain_id:%(target.limit.domain.id)s or domain_id:%(target.limit.project.domain_id)s"
        " or (project_id:%(target.limit.project_id)s and not None:%(target.limit.project_id)s)",
        _ALL,
    ),
    "list_limits": ("@", _ALL),
    "create_limits": (_ADMIN, _CLOUD),
    "update_limit": (_ADMIN, _CLOUD),
    "delete_limit": (_ADMIN, _CLOUD),
    "get_registered_limit": ("@", _ALL),
    "list_registered_limits": ("@", _ALL),
    "create_registered_limits": (_ADMIN, _CLOUD),
    "update_registered_limit": (_ADMIN, _CLOUD),
    "delete_registered_limit": (_ADMIN, _CLOUD),
    "create_trust": (_TRUSTOR, ("project",)),
    "list_trusts": (_READER, _CLOUD),
    "list_trusts_for_trustor": (f"{_READER} or {_TRUSTOR}", _CLOUD),
    "list_trusts_for_trustee": (f"{_READER} or {_TRUSTEE}", _CLOUD),
    "list_roles_for_trust": (f"{_READER} or {_TRUSTOR} or {_TRUSTEE}", _CLOUD),
    "get_role_for_trust": (f"{_READER} or {_TRUSTOR} or {_TRUSTEE}", _CLOUD),
    "get_trust": (f"{_READER} or {_TRUSTOR} or {_TRUSTEE}", _CLOUD),
    "delete_trust": (f"{_ADMIN} or {_TRUSTOR}", _CLOUD),
    "list_access_rules": (f"(role:reader and system_scope:all) or {_SELF}", _CLOUD),
    "get_access_rule": (f"(role:reader and system_scope:all) or {_SELF}", _CLOUD),
    "delete_access_rule": (f"(role:admin and system_scope:all) or {_SELF}", _CLOUD),
}

POLICIES: Mapping[str, str | Rule] = {
    "admin_required": "role:admin and domain_id:None",
    "domain_managed_target_role": " or ".join(
        f"'{name}':%(target.role.name)s" for name in ("manager", "member", "reader")
    ),
    **{f"identity:{name}": Rule(check, scopes) for name, (check, scopes) in _RULES.items()},
}


def allowed(call: Call, action: str, target: Mapping[str, Any] | None = None) -> bool:
    """Whether the rule `identity:<action>` lets the caller."""
    return call.policy.check(call.caller, f"identity:{action}", target)


def require(call: Call, action: str, target: Mapping[str, Any] | None = None) -> None:
    """Raises: Forbidden in Keystone's words unless the rule `identity:<action>` lets the caller."""
    rule = f"identity:{action}"
    if not allowed(call, action, target):
        raise Forbidden(f"You are not authorized to perform the requested action: {rule}.", type="Forbidden")


def own_domain(call: Call, name: str) -> dict[str, Any]:
    """The target of a list: with a token of a domain, that domain, which the list is then cut to."""
    return {} if call.caller.domain_id is None else {name: call.caller.domain_id}


def domain_in(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The target of a body that says its domain; as in Keystone, who must be of the domain has to say it."""
    return {name: body["domain_id"]} if isinstance(body.get("domain_id"), str) else {}


def about_user(tx: Tx, user_id: str | None) -> dict[str, Any]:
    """The target of a rule about a user."""
    return {"user_id": user_id, "target.user.id": user_id, **_domain_of("user", targets.domain_of(tx, "user", user_id))}


def about_group(tx: Tx, group_id: str) -> dict[str, Any]:
    return _domain_of("group", targets.domain_of(tx, "group", group_id))


def about_project(tx: Tx, project_id: str) -> dict[str, Any]:
    return {"target.project.id": project_id, **_domain_of("project", targets.domain_of(tx, "project", project_id))}


def about_role(tx: Tx, role_id: str) -> dict[str, Any]:
    found = targets.role(tx, role_id)
    return {} if found is None else {"target.role.name": found.name, "target.role.domain_id": found.domain_id}


def about_credential(user_id: str | None) -> dict[str, Any]:
    """The target of a rule about a credential of that user."""
    return {"target.credential.user_id": user_id}


def _domain_of(kind: str, found: Owned | None) -> dict[str, Any]:
    return {} if found is None else {f"target.{kind}.domain_id": found.domain_id}
