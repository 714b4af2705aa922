"""Identity v3: what a domain, project, user, group, role, service, endpoint, region and credential is.

Attributes that Keystone does not know are kept and shown as they came (the `extra` column of the tables), so
that what an operator's tools store with a user or project stays there. Ids are 32 hexadecimal digits, as
Keystone makes them; the first domain has the id `default`.

Source: Keystone API v3, api-ref; keystone/{resource,identity,assignment,catalog,credential}/schema.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from deuteron.model.codecs import (
    MAX_ITEMS,
    Anything,
    Boolean,
    Codec,
    Integer,
    Invalid,
    ListOf,
    Object,
    OneOf,
    Text,
    TooMany,
    quoted,
    refuse_large,
)
from deuteron.model.identity_limits import LIMIT, REGISTERED_LIMIT
from deuteron.model.resource import REQUIRED, Attribute, Resource
from deuteron.model.scalars import DomainId
from deuteron.model.user_options import USER_OPTIONS

if TYPE_CHECKING:
    from deuteron.model.identity_rows import (
        AccessRuleRow,
        ApplicationCredentialRow,
        CredentialRow,
        EndpointGroupRow,
        EndpointRow,
        GroupRow,
        ProjectRow,
        RegionRow,
        RoleRow,
        ServiceRow,
        TrustRow,
        UserRow,
    )

DEFAULT_DOMAIN: Final = DomainId("default")
"""Id of the domain `Default`, which is always there."""

IMPLIED_ROLES: tuple[tuple[str, str], ...] = (("admin", "manager"), ("manager", "member"), ("member", "reader"))
"""Role and the role it implies, by name, as the bootstrap stores them."""


@dataclass(frozen=True)
class Options:
    """Resource options: a JSON object; `null` values take an option away."""

    max_items: int = MAX_ITEMS
    column: str = "json"
    row_type: ClassVar[str] = "Mapping[str, Any]"

    def decode(self, raw: Any) -> Any:
        if not isinstance(raw, dict):
            raise Invalid(f"{quoted(raw)} is not of type 'object'", raw)
        if len(raw) > self.max_items:
            raise TooMany("object", len(raw), self.max_items)
        refuse_large(raw)
        return {name: value for name, value in raw.items() if value is not None}

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": True, "maxProperties": self.max_items}


MAX_TEXT = 65535
"""Characters and bytes of a free text. Source: keystone/*/backends/sql.py, whose columns are TEXT of MySQL."""
_NAME = Text(min_length=1, max_length=255, pattern=r"[\s\S]*\S[\s\S]*")
_SHORT_NAME = Text(min_length=1, max_length=64, pattern=r"[\s\S]*\S[\s\S]*")
_DESCRIPTION = Text(max_length=MAX_TEXT, max_bytes=MAX_TEXT, nullable=True)
_ID = Text(min_length=1, max_length=64, pattern=r"[A-Za-z0-9_-]+")
_OPTIONAL_ID = Text(min_length=1, max_length=64, nullable=True)
_TAGS = ListOf(Text(min_length=1, max_length=255, pattern=r"[^,/]*"), max_items=80, unique=True)
_STRICT = Boolean(strict=True)


def _id() -> Attribute:
    return Attribute("id", _ID, "the object's id, made by the server")


def _name(codec: Codec = _NAME) -> Attribute:
    return Attribute("name", codec, "the name", default=REQUIRED, create=True, update=True)


def _domain(*, nullable: bool = False) -> Attribute:
    return Attribute(
        "domain_id",
        _OPTIONAL_ID,
        "the domain it belongs to; cannot change",
        create=True,
        update=True,
        refers_to="domain",
        nullable=nullable,
    )


def _description(default: str | None = "") -> Attribute:
    return Attribute("description", _DESCRIPTION, "a free text", default=default, create=True, update=True)


def _enabled() -> Attribute:
    return Attribute("enabled", _STRICT, "whether it may be used", default=True, create=True, update=True)


def _options() -> Attribute:
    return Attribute(
        "options", Options(), "resource options", create=True, update=True, filter=False, sort=False, nullable=True
    )


_EXTRA = Attribute("extra", Object({}, open=True), "what only its maker knows of it", nullable=True)


PROJECT: Resource[ProjectRow] = Resource(
    service="identity",
    name="project",
    collection="projects",
    description="A project: what owns resources. A domain is stored as a project with `is_domain` set.",
    attributes=(
        _id(),
        _name(_SHORT_NAME),
        _domain(nullable=True),
        _description(),
        _enabled(),
        Attribute(
            "parent_id", _OPTIONAL_ID, "the project or domain above it", create=True, update=True, refers_to="project"
        ),
        Attribute("is_domain", _STRICT, "whether it acts as a domain", default=False, create=True, update=True),
        Attribute("tags", _TAGS, "tags", create=True, update=True, filter=False, sort=False, nullable=True),
        _options(),
    ),
    hidden=(_EXTRA,),
    indexes=(("domain_id", "name"), ("parent_id",)),
)

DOMAIN: Resource[ProjectRow] = Resource(
    service="identity",
    name="domain",
    collection="domains",
    description="A domain: a name space of users, groups and projects.",
    attributes=(
        _id(),
        _name(_SHORT_NAME),
        _description(),
        _enabled(),
        Attribute("tags", _TAGS, "tags", create=True, update=True, filter=False, sort=False),
        _options(),
    ),
    table="identity_projects",
)

USER: Resource[UserRow] = Resource(
    service="identity",
    name="user",
    collection="users",
    description="A user. Its password is kept only as a salted hash and is never shown.",
    attributes=(
        _id(),
        _name(),
        _domain(),
        _enabled(),
        _description(None),
        Attribute("email", Text(nullable=True), "an address", create=True, update=True),
        Attribute(
            "default_project_id",
            _OPTIONAL_ID,
            "scope of a token that asks for none",
            create=True,
            update=True,
            refers_to="project",
        ),
        Attribute("password_expires_at", Text(nullable=True), "when the password must be changed", filter=False),
        Attribute(
            "options",
            USER_OPTIONS,
            "resource options",
            create=True,
            update=True,
            filter=False,
            sort=False,
            nullable=True,
        ),
        Attribute(
            "password",
            Text(max_length=1024, nullable=True),
            "the password",
            create=True,
            update=True,
            read=False,
            stored=False,
        ),
    ),
    hidden=(
        Attribute("password_hash", Text(nullable=True), "what a password is compared with"),
        Attribute("tokens_valid_after_us", Integer(), "tokens that were made for another value have ended"),
        Attribute("failed_logins", Integer(nullable=True), "wrong passwords since the last right one"),
        Attribute("failed_at_s", Integer(nullable=True), "when the last of them was"),
        Attribute("password_set_s", Integer(nullable=True), "since when the password is this one"),
        Attribute("password_is_own", Boolean(nullable=True), "whether the user chose the password"),
        Attribute("password_history", ListOf(Text(), nullable=True), "hashes of those before, the last at the end"),
        Attribute("active_day", Text(nullable=True), "when it last logged in, or was made or enabled"),
        _EXTRA,
    ),
    indexes=(("domain_id", "name"), ("default_project_id",)),
)

GROUP: Resource[GroupRow] = Resource(
    service="identity",
    name="group",
    collection="groups",
    description="A group of users; roles given to it are given to its users.",
    attributes=(_id(), _name(_SHORT_NAME), _domain(), _description()),
    hidden=(_EXTRA,),
    indexes=(("domain_id", "name"),),
)

ROLE: Resource[RoleRow] = Resource(
    service="identity",
    name="role",
    collection="roles",
    description="A role: the name that policy rules ask for.",
    attributes=(_id(), _name(), _domain(nullable=True), _description(None), _options()),
    hidden=(_EXTRA,),
    indexes=(("name",),),
)

REGION: Resource[RegionRow] = Resource(
    service="identity",
    name="region",
    collection="regions",
    description="A region of the catalog.",
    attributes=(
        Attribute("id", Text(min_length=1), "the id, chosen by whoever makes it", create=True),
        _description(),
        Attribute(
            "parent_region_id",
            Text(nullable=True),
            "the region it lies in",
            create=True,
            update=True,
            refers_to="region",
        ),
    ),
    hidden=(_EXTRA,),
)

SERVICE: Resource[ServiceRow] = Resource(
    service="identity",
    name="service",
    collection="services",
    description="A service of the catalog.",
    attributes=(
        _id(),
        Attribute("type", _NAME, "the service type: `network`", default=REQUIRED, create=True, update=True),
        Attribute("name", Text(nullable=True), "the name: `neutron`", create=True, update=True),
        _description(None),
        _enabled(),
    ),
    hidden=(_EXTRA,),
)

ENDPOINT: Resource[EndpointRow] = Resource(
    service="identity",
    name="endpoint",
    collection="endpoints",
    description="The address of a service in a region, for one kind of caller.",
    attributes=(
        _id(),
        Attribute("service_id", _ID, "its service", default=REQUIRED, create=True, update=True, refers_to="service"),
        Attribute(
            "interface",
            OneOf(("public", "internal", "admin")),
            "whom it is for",
            default=REQUIRED,
            create=True,
            update=True,
        ),
        Attribute("region_id", Text(nullable=True), "its region", create=True, update=True, refers_to="region"),
        Attribute(
            "url",
            Text(max_length=MAX_TEXT, max_bytes=MAX_TEXT, pattern=r"[a-zA-Z][a-zA-Z0-9+.-]*://.+"),
            "the address; `$(project_id)s` is filled in",
            default=REQUIRED,
            create=True,
            update=True,
        ),
        _enabled(),
    ),
    hidden=(_EXTRA,),
    indexes=(("service_id",),),
)

ENDPOINT_GROUP: Resource[EndpointGroupRow] = Resource(
    service="identity",
    name="endpoint_group",
    collection="endpoint_groups",
    description="The endpoints of a service, a region or an interface, for projects to be shown.",
    attributes=(
        _id(),
        _name(),
        _description(None),
        Attribute(
            "filters",
            Object(
                {
                    "service_id": _ID,
                    "region_id": Text(min_length=1, max_length=255),
                    "interface": OneOf(("public", "internal", "admin")),
                }
            ),
            "what its endpoints have",
            default=REQUIRED,
            create=True,
            update=True,
            filter=False,
            sort=False,
        ),
    ),
)

CREDENTIAL: Resource[CredentialRow] = Resource(
    service="identity",
    name="credential",
    collection="credentials",
    description="A secret of another system that is kept with a user.",
    attributes=(
        _id(),
        Attribute("type", _NAME, "what kind of secret: `ec2`", default=REQUIRED, create=True, update=True),
        Attribute(
            "blob",
            Text(max_length=MAX_TEXT, max_bytes=MAX_TEXT),
            "the secret",
            default=REQUIRED,
            create=True,
            update=True,
            filter=False,
        ),
        Attribute("user_id", _ID, "whose it is", default=REQUIRED, create=True, update=True, refers_to="user"),
        Attribute("project_id", _OPTIONAL_ID, "the project it is for", create=True, update=True, refers_to="project"),
    ),
    hidden=(_EXTRA,),
    indexes=(("user_id",), ("project_id",)),
)

MAX_ACCESS_RULES: Final = 100
"""Of one application credential."""
_SERVICE_TYPE = Text(min_length=1, max_length=64, pattern=r"[a-zA-Z0-9-]+")
_RULE_PATH = Text(min_length=1, max_length=225, pattern=r"/.*")
_RULE_METHOD = OneOf(("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"))

ACCESS_RULE: Resource[AccessRuleRow] = Resource(
    service="identity",
    name="access_rule",
    collection="access_rules",
    description="A kind of request that application credentials of its owner may be limited to.",
    attributes=(
        _id(),
        Attribute("path", _RULE_PATH, "the path, with `*`, `**` and `{names}` for what may stand there"),
        Attribute("method", _RULE_METHOD, "the method"),
        Attribute("service", _SERVICE_TYPE, "the type of the service: `compute`"),
    ),
    hidden=(Attribute("user_id", _ID, "whose it is", refers_to="user"),),
    indexes=(("user_id",),),
)

APPLICATION_CREDENTIAL: Resource[ApplicationCredentialRow] = Resource(
    service="identity",
    name="application_credential",
    collection="application_credentials",
    description="A secret with which a program acts in one project, with some of its maker's roles.",
    attributes=(
        _id(),
        _name(),
        Attribute("user_id", _ID, "whose it is", refers_to="user"),
        Attribute("project_id", _ID, "the project it is for: that of the token that made it", refers_to="project"),
        _description(None),
        Attribute("expires_at", Text(nullable=True), "when it ends", create=True),
        Attribute("unrestricted", _STRICT, "whether it may make others", default=False, create=True),
        Attribute(
            "roles",
            ListOf(Object({"id": _ID, "name": _NAME, "domain": Anything()}, open=True)),
            "its roles; those of the token when not given",
            create=True,
            filter=False,
            sort=False,
            row_type="Sequence[RoleId]",
        ),
        Attribute(
            "access_rules",
            ListOf(
                Object({"id": _SERVICE_TYPE, "service": _SERVICE_TYPE, "path": _RULE_PATH, "method": _RULE_METHOD}),
                max_items=MAX_ACCESS_RULES,
                nullable=True,
            ),
            "the requests that it is for; every request without them",
            create=True,
            filter=False,
            sort=False,
            row_type="Sequence[AccessRuleId]",
        ),
        Attribute("secret", Text(nullable=True), "the secret", create=True, read=False, stored=False),
    ),
    hidden=(
        Attribute("secret_hash", Text(), "what a secret is compared with"),
        _EXTRA,
    ),
    indexes=(("user_id", "name"), ("project_id",)),
)

MAX_TRUST_ROLES: Final = 100
"""Of one trust."""

TRUST: Resource[TrustRow] = Resource(
    service="identity",
    name="trust",
    collection="trusts",
    description="A user lets another act on a project with some of its roles.",
    attributes=(
        _id(),
        Attribute("trustor_user_id", _ID, "who trusts", default=REQUIRED, create=True, refers_to="user"),
        Attribute("trustee_user_id", _ID, "who is trusted", default=REQUIRED, create=True, refers_to="user"),
        Attribute("impersonation", _STRICT, "whether tokens are in the trustor's name", default=REQUIRED, create=True),
        Attribute("project_id", _OPTIONAL_ID, "where", create=True, refers_to="project", nullable=False),
        Attribute(
            "remaining_uses",
            Integer(minimum=1, maximum=2**31 - 1, nullable=True, strict=True),
            "how many tokens may still be made; null for any number",
            create=True,
        ),
        Attribute("expires_at", Text(nullable=True), "when it ends", create=True),
        Attribute(
            "allow_redelegation",
            Boolean(strict=True, nullable=True),
            "whether the trustee may trust another in turn",
            default=False,
            create=True,
            read=False,
            stored=False,
        ),
        Attribute(
            "redelegation_count",
            Integer(minimum=0, maximum=2**31 - 1, nullable=True, strict=True),
            "how often it may be handed on",
            create=True,
            nullable=False,
        ),
        Attribute("redelegated_trust_id", _OPTIONAL_ID, "the trust that it was made from", refers_to="trust"),
        Attribute(
            "roles",
            ListOf(Object({"id": _ID, "name": _NAME}), max_items=MAX_TRUST_ROLES),
            "the trustor's roles that it gives",
            default=[],
            create=True,
            filter=False,
            sort=False,
            row_type="Sequence[RoleId]",
        ),
    ),
    indexes=(("trustor_user_id",), ("trustee_user_id",), ("project_id",), ("redelegated_trust_id",)),
)

STORED: Final[tuple[Resource[Any], ...]] = (
    PROJECT,
    USER,
    GROUP,
    ROLE,
    REGION,
    SERVICE,
    ENDPOINT,
    CREDENTIAL,
    APPLICATION_CREDENTIAL,
    ACCESS_RULE,
    TRUST,
    REGISTERED_LIMIT,
    LIMIT,
    ENDPOINT_GROUP,
)
"""Those with a table of their own."""
