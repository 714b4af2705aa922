"""Who makes a request: the identity and scope that a token proves."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from deuteron.model.scalars import ProjectId


class AccessRule(NamedTuple):
    """A kind of request that an application credential is limited to."""

    service: str
    """The type in the catalog: `compute`."""
    method: str
    path: str
    """What the path looks like: see `rules.identity.access_rules`."""


@dataclass(frozen=True)
class Caller:
    """The proven identity. `roles` are lower case and include implied ones (admin, manager, member, reader).

    Only global roles: a role of a domain gives what it implies, and is no role itself.
    """

    user_id: str
    user_name: str
    user_domain_id: str
    roles: frozenset[str]
    project_id: ProjectId | None = None
    project_name: str | None = None
    project_domain_id: str | None = None
    domain_id: str | None = None
    system_scope: str | None = None
    audit_ids: tuple[str, ...] = ()
    expires_at: str = ""
    token: str = field(default="", repr=False)
    access_rules: tuple[AccessRule, ...] | None = None
    """The requests that it may make at all; None is no limit."""

    @property
    def scope(self) -> str:
        """What the token is for: system, domain or project. Without a scope it counts as one of a project."""
        if self.system_scope is not None:
            return "system"
        return "project" if self.domain_id is None else "domain"

    @property
    def is_admin(self) -> bool:
        """Whether it administers what projects own; `admin` on a domain or the system counts in identity alone."""
        return "admin" in self.roles and self.scope == "project"

    @property
    def is_service(self) -> bool:
        """Whether it is another service of the cloud, which sees and wires what all projects own."""
        return "service" in self.roles and self.scope == "project"

    @property
    def identity(self) -> tuple[Hashable, ...]:
        """What `credentials` are made of, to be the key of what was decided for them."""
        scope = (self.project_id, self.domain_id, self.system_scope)
        return (self.user_id, self.user_domain_id, self.project_domain_id, self.roles, *scope)

    def credentials(self) -> Mapping[str, Any]:
        """The names that policy rules use."""
        return {
            "user_id": self.user_id,
            "project_id": self.project_id,
            "tenant_id": self.project_id,
            "domain_id": self.domain_id,
            "user_domain_id": self.user_domain_id,
            "project_domain_id": self.project_domain_id,
            "system_scope": self.system_scope,
            "token": {"domain": {"id": self.domain_id}, "project": {"domain": {"id": self.project_domain_id}}},
            "roles": sorted(self.roles),
            "is_admin": self.is_admin,
        }
