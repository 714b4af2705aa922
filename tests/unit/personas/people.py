"""The personas of OpenStack's secure RBAC, and the objects that a rule may be about, seen from each of them.

Plain data without imports of ours: `generate.py` asks the real services about them, the tests ask this cloud.

Source: OpenStack governance, goals/selected/consistent-and-secure-rbac.rst; keystone's administrator guide, "Service
API protection".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

IMPLIED = {
    "admin": ("admin", "manager", "member", "reader"),
    "manager": ("manager", "member", "reader"),
    "member": ("member", "reader"),
    "reader": ("reader",),
    "service": ("service",),
}
DOMAIN, PROJECT = "d" * 32, "a" * 32
OTHER_DOMAIN, OTHER_PROJECT, OTHER_USER, NEIGHBOUR = "e" * 32, "b" * 32, "c" * 32, "f" * 32


@dataclass(frozen=True)
class Persona:
    """A user with one role in one scope; its user and project are of the domain `DOMAIN`."""

    scope: str
    role: str

    @property
    def name(self) -> str:
        return f"{self.scope}-{self.role}" if self.role else "nobody"

    @property
    def roles(self) -> tuple[str, ...]:
        return IMPLIED.get(self.role, ())

    @property
    def user_id(self) -> str:
        return f"{PERSONAS.index(self) + 1:032x}"


PERSONAS = (
    *(Persona("system", role) for role in ("admin", "member", "reader")),
    *(Persona("domain", role) for role in ("admin", "manager", "member", "reader")),
    *(Persona("project", role) for role in ("admin", "manager", "member", "reader", "service")),
    Persona("project", ""),
)
"""`nobody` has a token without a scope."""


def _about(user: str, domain: str, project: str, role: str, role_domain: str | None) -> dict[str, Any]:
    return {
        "user_id": user,
        "target.user.id": user,
        "target.user.domain_id": domain,
        "target.group.domain_id": domain,
        "target.project.id": project,
        "target.project.domain_id": domain,
        "target.domain.id": domain,
        "target.domain_id": domain,
        "target.role.name": role,
        "target.role.domain_id": role_domain,
        "target.token.user_id": user,
        "target.credential.user_id": user,
        "target.limit.project_id": project,
        "target.limit.project.domain_id": domain,
        "target.limit.domain.id": domain,
        "target.trust.trustor_user_id": user,
        "target.trust.trustee_user_id": user,
    }


def identity_targets(persona: Persona) -> dict[str, dict[str, Any]]:
    """What an identity rule may be about: the caller, another of its domain, one of another domain."""
    elsewhere = _about(OTHER_USER, OTHER_DOMAIN, OTHER_PROJECT, "member", None)
    own = _about(NEIGHBOUR, DOMAIN, PROJECT, "member", None)
    return {
        "self": _about(persona.user_id, DOMAIN, PROJECT, "member", None),
        "own": own,
        "own, role admin": _about(NEIGHBOUR, DOMAIN, PROJECT, "admin", None),
        "own, role of the domain": _about(NEIGHBOUR, DOMAIN, PROJECT, "admin", DOMAIN),
        "own, role of another domain": _about(NEIGHBOUR, DOMAIN, PROJECT, "admin", OTHER_DOMAIN),
        "own user, other project": {**elsewhere, "target.user.id": NEIGHBOUR, "target.user.domain_id": DOMAIN,
                                    "target.group.domain_id": DOMAIN},
        "other user, own project": {**own, "target.user.id": OTHER_USER, "target.user.domain_id": OTHER_DOMAIN,
                                    "target.group.domain_id": OTHER_DOMAIN},
        "other": elsewhere,
        "nothing": {},
    }  # fmt: skip


def _of(project: str, **values: Any) -> dict[str, Any]:
    return {
        "project_id": project,
        "tenant_id": project,
        "owner": project,
        "network:project_id": project,
        "security_group:project_id": project,
        "ext_parent:project_id": project,
        "device_owner": "",
        "target_tenant": OTHER_PROJECT,
        "target_project": OTHER_PROJECT,
        "shared": False,
        "router:external": False,
        "visibility": "private",
        "member_id": "",
        **values,
    }


def project_targets(persona: Persona) -> dict[str, dict[str, Any]]:
    """What a rule of the other services may be about: the project's things, another's, shared ones, special ones."""
    user = {"user_id": persona.user_id}
    return {
        "own": _of(PROJECT, **user),
        "own, another user's": _of(PROJECT, user_id=NEIGHBOUR),
        "other": _of(OTHER_PROJECT, user_id=OTHER_USER),
        "shared": _of(OTHER_PROJECT, user_id=OTHER_USER, shared=True),
        "external": _of(OTHER_PROJECT, user_id=OTHER_USER, **{"router:external": True}),
        "own on another's network": _of(PROJECT, **user, **{"network:project_id": OTHER_PROJECT}),
        "other's on own network": _of(OTHER_PROJECT, user_id=OTHER_USER, **{"network:project_id": PROJECT}),
        "server's": _of(PROJECT, **user, device_owner="compute:nova"),
        "router's": _of(PROJECT, **user, device_owner="network:router_interface"),
        "router's on another's network": _of(
            PROJECT, **user, device_owner="network:router_interface", **{"network:project_id": OTHER_PROJECT}
        ),
        "for everybody": _of(PROJECT, **user, target_tenant="*", target_project="*"),
        "public": _of(OTHER_PROJECT, user_id=OTHER_USER, visibility="public"),
        "image shared with us": _of(OTHER_PROJECT, user_id=OTHER_USER, visibility="shared", member_id=PROJECT),
    }
