"""Rows of the identity service, made from its declarations by `python -m deuteron.model.rows identity`; do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import ReadOnly, TypedDict

from deuteron.model.scalars import (
    AccessRuleId,
    ApplicationCredentialId,
    CredentialId,
    DomainId,
    EndpointGroupId,
    EndpointId,
    GroupId,
    LimitId,
    ProjectId,
    RegionId,
    RegisteredLimitId,
    RoleId,
    ServiceId,
    TrustId,
    UserId,
)


class ProjectRow(TypedDict):
    id: ReadOnly[ProjectId]
    name: ReadOnly[str]
    domain_id: ReadOnly[DomainId | None]
    description: ReadOnly[str | None]
    enabled: ReadOnly[bool]
    parent_id: ReadOnly[ProjectId | None]
    is_domain: ReadOnly[bool]
    tags: ReadOnly[Sequence[str] | None]
    options: ReadOnly[Mapping[str, Any] | None]
    extra: ReadOnly[Mapping[str, Any] | None]


class UserRow(TypedDict):
    id: ReadOnly[UserId]
    name: ReadOnly[str]
    domain_id: ReadOnly[DomainId]
    enabled: ReadOnly[bool]
    description: ReadOnly[str | None]
    email: ReadOnly[str | None]
    default_project_id: ReadOnly[ProjectId | None]
    password_expires_at: ReadOnly[str | None]
    options: ReadOnly[Mapping[str, Any] | None]
    password_hash: ReadOnly[str | None]
    tokens_valid_after_us: ReadOnly[int]
    failed_logins: ReadOnly[int | None]
    failed_at_s: ReadOnly[int | None]
    password_set_s: ReadOnly[int | None]
    password_is_own: ReadOnly[bool | None]
    password_history: ReadOnly[Sequence[str] | None]
    active_day: ReadOnly[str | None]
    extra: ReadOnly[Mapping[str, Any] | None]


class GroupRow(TypedDict):
    id: ReadOnly[GroupId]
    name: ReadOnly[str]
    domain_id: ReadOnly[DomainId]
    description: ReadOnly[str | None]
    extra: ReadOnly[Mapping[str, Any] | None]


class RoleRow(TypedDict):
    id: ReadOnly[RoleId]
    name: ReadOnly[str]
    domain_id: ReadOnly[DomainId | None]
    description: ReadOnly[str | None]
    options: ReadOnly[Mapping[str, Any] | None]
    extra: ReadOnly[Mapping[str, Any] | None]


class RegionRow(TypedDict):
    id: ReadOnly[RegionId]
    description: ReadOnly[str | None]
    parent_region_id: ReadOnly[RegionId | None]
    extra: ReadOnly[Mapping[str, Any] | None]


class ServiceRow(TypedDict):
    id: ReadOnly[ServiceId]
    type: ReadOnly[str]
    name: ReadOnly[str | None]
    description: ReadOnly[str | None]
    enabled: ReadOnly[bool]
    extra: ReadOnly[Mapping[str, Any] | None]


class EndpointRow(TypedDict):
    id: ReadOnly[EndpointId]
    service_id: ReadOnly[ServiceId]
    interface: ReadOnly[str]
    region_id: ReadOnly[RegionId | None]
    url: ReadOnly[str]
    enabled: ReadOnly[bool]
    extra: ReadOnly[Mapping[str, Any] | None]


class CredentialRow(TypedDict):
    id: ReadOnly[CredentialId]
    type: ReadOnly[str]
    blob: ReadOnly[str]
    user_id: ReadOnly[UserId]
    project_id: ReadOnly[ProjectId | None]
    extra: ReadOnly[Mapping[str, Any] | None]


class ApplicationCredentialRow(TypedDict):
    id: ReadOnly[ApplicationCredentialId]
    name: ReadOnly[str]
    user_id: ReadOnly[UserId]
    project_id: ReadOnly[ProjectId]
    description: ReadOnly[str | None]
    expires_at: ReadOnly[str | None]
    unrestricted: ReadOnly[bool]
    roles: ReadOnly[Sequence[RoleId]]
    access_rules: ReadOnly[Sequence[AccessRuleId] | None]
    secret_hash: ReadOnly[str]
    extra: ReadOnly[Mapping[str, Any] | None]


class AccessRuleRow(TypedDict):
    id: ReadOnly[AccessRuleId]
    path: ReadOnly[str]
    method: ReadOnly[str]
    service: ReadOnly[str]
    user_id: ReadOnly[UserId]


class TrustRow(TypedDict):
    id: ReadOnly[TrustId]
    trustor_user_id: ReadOnly[UserId]
    trustee_user_id: ReadOnly[UserId]
    impersonation: ReadOnly[bool]
    project_id: ReadOnly[ProjectId]
    remaining_uses: ReadOnly[int | None]
    expires_at: ReadOnly[str | None]
    redelegation_count: ReadOnly[int]
    redelegated_trust_id: ReadOnly[TrustId | None]
    roles: ReadOnly[Sequence[RoleId]]


class RegisteredLimitRow(TypedDict):
    id: ReadOnly[RegisteredLimitId]
    service_id: ReadOnly[ServiceId]
    region_id: ReadOnly[RegionId | None]
    resource_name: ReadOnly[str]
    default_limit: ReadOnly[int]
    description: ReadOnly[str | None]


class LimitRow(TypedDict):
    id: ReadOnly[LimitId]
    project_id: ReadOnly[ProjectId | None]
    domain_id: ReadOnly[DomainId | None]
    service_id: ReadOnly[ServiceId]
    region_id: ReadOnly[RegionId | None]
    resource_name: ReadOnly[str]
    resource_limit: ReadOnly[int]
    description: ReadOnly[str | None]
    registered_limit_id: ReadOnly[RegisteredLimitId]


class EndpointGroupRow(TypedDict):
    id: ReadOnly[EndpointGroupId]
    name: ReadOnly[str]
    description: ReadOnly[str | None]
    filters: ReadOnly[Mapping[str, Any]]
