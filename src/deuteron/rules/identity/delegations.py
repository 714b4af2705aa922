"""What a trust is worth now: whose rights its trustee has, which, and until when.

A trust names roles of its trustor on a project. The trustee's tokens have them, and what they imply, as long as the
trustor has all of them there: a trust that lost one is worth nothing, and so is one whose trustor or trustee is gone or
disabled. A trust that was made from another stands on it: what ends that one ends it.

Source: keystone 30.0, trust/core.py and models/token_model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select, update

from deuteron.model.errors import Forbidden, NotFound
from deuteron.model.identity_rows import TrustRow
from deuteron.rules.identity.effective import expand, global_only, roles_on
from deuteron.rules.identity.times import is_past
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import projects, trusts, users


@dataclass(frozen=True)
class Delegation:
    """A trust that holds, and what its trustee's tokens are worth."""

    trust: TrustRow
    trustor_generation: int
    """The trustor's `tokens_valid_after_us`: with another password of the trustor's, tokens end."""
    roles: Mapping[str, str]

    @property
    def speaks_as(self) -> str:
        """Whom tokens are of: the trustor's, when the trustee acts in its name."""
        return self.trust["trustor_user_id"] if self.trust["impersonation"] else self.trust["trustee_user_id"]


def live_trust(tx: Tx, id: str, now_s: float) -> TrustRow:
    """The trust, with all that it stands on. Raises: NotFound for one that is not there or has ended; Forbidden."""
    row = usable(tx, id, now_s)
    child = row
    while child["redelegated_trust_id"] is not None:
        parent = usable(tx, child["redelegated_trust_id"], now_s)
        if not _is_live(tx, parent["trustee_user_id"]):
            raise Forbidden("One of the trust agents is disabled or deleted", type="Forbidden")
        child = parent
    return row


def usable(tx: Tx, id: str, now_s: float) -> TrustRow:
    """Raises: NotFound."""
    row = query.row_by_id(tx, trusts, id)
    if row is None or is_past(row["expires_at"], now_s):
        raise missing(id)
    return row


def delegation(tx: Tx, id: str, trustee_id: str, now_s: float) -> Delegation:
    """What the trust gives this trustee. Raises: NotFound; Forbidden, when it is another's or a role is lost."""
    row = live_trust(tx, id, now_s)
    if row["trustee_user_id"] != trustee_id:
        raise Forbidden("User is not a trustee.", type="Forbidden")
    if not _is_live(tx, row["trustor_user_id"]):
        raise Forbidden("Trustor is disabled.", type="Forbidden")
    origin = row
    while origin["redelegated_trust_id"] is not None:
        origin = usable(tx, origin["redelegated_trust_id"], now_s)
    wanted = expand(tx, row["roles"])
    held = roles_on(tx, origin["trustor_user_id"], "project", row["project_id"], of_domains=True)
    if not wanted or not set(row["roles"]) <= wanted.keys() or not wanted.keys() <= held.keys():
        raise Forbidden("Trustee has no delegated roles.", type="Forbidden")
    number = tx.scalar(select(users.c.tokens_valid_after_us).where(users.c.id == row["trustor_user_id"]))
    return Delegation(row, number or 0, global_only(tx, wanted))


def use(tx: Tx, row: TrustRow) -> None:
    """A token is made of it. Raises: NotFound when it is used up."""
    left = row["remaining_uses"]
    if left is None:
        return
    if left <= 0:
        raise missing(row["id"])
    tx.execute(update(trusts).where(trusts.c.id == row["id"]).values(remaining_uses=left - 1))


def missing(id: str) -> NotFound:
    return NotFound(f"Could not find trust: {id}.", type="TrustNotFound")


def _is_live(tx: Tx, user_id: str) -> bool:
    """Whether the user and its domain are there and enabled."""
    both = select(users.c.id).where(
        users.c.id == user_id, users.c.enabled, projects.c.id == users.c.domain_id, projects.c.enabled
    )
    return tx.first(both) is not None
