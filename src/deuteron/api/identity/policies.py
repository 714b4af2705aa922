"""The identity service's default policy, with Keystone's rule names.

`target.user.id` and the like are what the handlers put into the target. An operator's `policy.yaml` overrides by name.
Source: keystone/common/policies/*.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call
from deuteron.model.errors import Forbidden

_ADMIN = "rule:admin_required"
_READER = "rule:admin_required or (role:reader and system_scope:all)"
_SELF = "user_id:%(target.user.id)s"

POLICIES: Mapping[str, str] = {
    "identity:validate_token": (f"{_READER} or role:service or {_SELF}"),
    "identity:revoke_token": f"{_ADMIN} or {_SELF}",
    "identity:get_domain": f"{_READER} or domain_id:%(target.domain.id)s or project_domain_id:%(target.domain.id)s",
    "identity:list_domains": _READER,
    "identity:create_domain": _ADMIN,
    "identity:update_domain": _ADMIN,
    "identity:delete_domain": _ADMIN,
    "identity:get_project": f"{_READER} or project_id:%(target.project.id)s",
    "identity:list_projects": _READER,
    "identity:list_user_projects": f"{_READER} or {_SELF}",
    "identity:create_project": _ADMIN,
    "identity:update_project": _ADMIN,
    "identity:delete_project": _ADMIN,
    "identity:get_user": f"{_READER} or {_SELF}",
    "identity:list_users": _READER,
    "identity:create_user": _ADMIN,
    "identity:update_user": _ADMIN,
    "identity:delete_user": _ADMIN,
    "identity:get_group": _READER,
    "identity:list_groups": _READER,
    "identity:list_groups_for_user": f"{_READER} or {_SELF}",
    "identity:create_group": _ADMIN,
    "identity:update_group": _ADMIN,
    "identity:delete_group": _ADMIN,
    "identity:list_users_in_group": _READER,
    "identity:check_user_in_group": _READER,
    "identity:add_user_to_group": _ADMIN,
    "identity:remove_user_from_group": _ADMIN,
    "identity:get_role": _READER,
    "identity:list_roles": _READER,
    "identity:create_role": _ADMIN,
    "identity:update_role": _ADMIN,
    "identity:delete_role": _ADMIN,
    "identity:get_implied_role": _READER,
    "identity:list_implied_roles": _READER,
    "identity:list_role_inference_rules": _READER,
    "identity:create_implied_role": _ADMIN,
    "identity:delete_implied_role": _ADMIN,
    "identity:list_role_assignments": f"{_READER} or {_SELF}",
    "identity:check_grant": _READER,
    "identity:list_grants": _READER,
    "identity:create_grant": _ADMIN,
    "identity:revoke_grant": _ADMIN,
    "identity:get_service": _READER,
    "identity:list_services": _READER,
    "identity:create_service": _ADMIN,
    "identity:update_service": _ADMIN,
    "identity:delete_service": _ADMIN,
    "identity:get_endpoint": _READER,
    "identity:list_endpoints": _READER,
    "identity:create_endpoint": _ADMIN,
    "identity:update_endpoint": _ADMIN,
    "identity:delete_endpoint": _ADMIN,
    "identity:get_region": "@",
    "identity:list_regions": "@",
    "identity:create_region": _ADMIN,
    "identity:update_region": _ADMIN,
    "identity:delete_region": _ADMIN,
    "identity:get_credential": f"{_READER} or {_SELF}",
    "identity:list_credentials": f"{_READER} or {_SELF}",
    "identity:create_credential": f"{_ADMIN} or {_SELF}",
    "identity:update_credential": f"{_ADMIN} or {_SELF}",
    "identity:delete_credential": f"{_ADMIN} or {_SELF}",
    "identity:get_application_credential": f"{_READER} or {_SELF}",
    "identity:list_application_credentials": f"{_READER} or {_SELF}",
    "identity:create_application_credential": _SELF,
    "identity:delete_application_credential": f"{_ADMIN} or {_SELF}",
}


def require(call: Call, action: str, target: Mapping[str, Any] | None = None) -> None:
    """Raises: Forbidden in Keystone's words unless the rule `identity:<action>` lets the caller."""
    rule = f"identity:{action}"
    if not call.cloud.policy.check(call.caller, rule, target):
        raise Forbidden(f"You are not authorized to perform the requested action: {rule}.", type="Forbidden")


def about_user(user_id: str | None) -> dict[str, Any]:
    """The target of a rule about a user."""
    return {"target.user.id": user_id}
