"""Of accounts: failed logins, since when a password is one, those before it, when somebody was last there."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0045"
down_revision = "0044"

_COLUMNS = {
    "failed_logins": "BIGINT",
    "failed_at_s": "BIGINT",
    "password_set_s": "BIGINT",
    "password_is_own": "BOOLEAN",
    "password_history": "TEXT",
    "active_day": "TEXT",
}


def upgrade() -> None:
    """Whoever is there counts as active from the day that it next logs in: nobody is disabled by the change."""
    run(*(f"ALTER TABLE identity_users ADD COLUMN {name} {kind}" for name, kind in _COLUMNS.items()))


def downgrade() -> None:
    run(*(f"ALTER TABLE identity_users DROP COLUMN {name}" for name in _COLUMNS))
