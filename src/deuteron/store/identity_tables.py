"""Tables of the identity service.

`identity_state` holds one counter, `revision`: every transaction that may change what an issued token is worth
raises it, so that proven callers can be kept in memory and still never outlive a revocation by one request.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, UniqueConstraint, select, update

from deuteron.model import identity, identity_limits
from deuteron.store.database import Tx
from deuteron.store.prepared import Prepared
from deuteron.store.schema import Json, metadata, table_for

projects = table_for(identity.PROJECT)
users = table_for(identity.USER)
groups = table_for(identity.GROUP)
roles = table_for(identity.ROLE)
regions = table_for(identity.REGION)
services = table_for(identity.SERVICE)
endpoints = table_for(identity.ENDPOINT)
credentials = table_for(identity.CREDENTIAL)
application_credentials = table_for(identity.APPLICATION_CREDENTIAL)
access_rules = table_for(identity.ACCESS_RULE)
trusts = table_for(identity.TRUST)
registered_limits = table_for(identity_limits.REGISTERED_LIMIT)
limits = table_for(identity_limits.LIMIT)

endpoint_groups = table_for(identity.ENDPOINT_GROUP)

endpoint_projects = Table(
    "identity_endpoint_projects",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("endpoint_id", Text, primary_key=True),
)
"""Which endpoints a project is shown; all where none is named, and no group."""

endpoint_group_projects = Table(
    "identity_endpoint_group_projects",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("endpoint_group_id", Text, primary_key=True),
)

domain_configs = Table(
    "identity_domain_configs",
    metadata,
    Column("domain_id", Text, primary_key=True),
    Column("options", Json, nullable=False),
)
"""Options by group, of domains that have some."""

memberships = Table(
    "identity_memberships",
    metadata,
    Column("group_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Index("ix_identity_memberships_user", "user_id"),
)

implied_roles = Table(
    "identity_implied_roles",
    metadata,
    Column("prior_role_id", Text, primary_key=True),
    Column("implied_role_id", Text, primary_key=True),
)

assignments = Table(
    "identity_assignments",
    metadata,
    Column("actor_kind", Text, primary_key=True),
    Column("actor_id", Text, primary_key=True),
    Column("target_kind", Text, primary_key=True),
    Column("target_id", Text, primary_key=True),
    Column("role_id", Text, primary_key=True),
    Column("inherited", Boolean, primary_key=True),
    Index("ix_identity_assignments_target", "target_id", "target_kind"),
    Index("ix_identity_assignments_role", "role_id"),
)
"""`actor_kind`: user, group. `target_kind`: project, domain, system (whose id is `all`)."""

revocations = Table(
    "identity_revocations",
    metadata,
    Column("audit_id", Text, primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
"""Tokens that were revoked one by one, until they would have expired anyway (seconds since 1970)."""

state = Table(
    "identity_state",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("text", Text),
    UniqueConstraint("name"),
)
"""`revision`: see above. `password <user>`: hash of the password the settings gave last."""

_REVISION = Prepared(select(state.c.number).where(state.c.name == "revision"))


def identity_revision(tx: Tx) -> int:
    """The present revision of everything that tokens depend on."""
    return tx.run(_REVISION).scalar() or 0


def tokens_may_change(tx: Tx) -> None:
    """Raise the revision: no proof made before this transaction is used after it."""
    done = tx.execute(update(state).where(state.c.name == "revision").values(number=state.c.number + 1))
    if done.rowcount == 0:
        tx.insert(state, {"name": "revision", "number": 1, "text": None})
