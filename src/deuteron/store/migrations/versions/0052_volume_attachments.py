"""Volumes in the hands of servers."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0052"
down_revision = "0051"


def upgrade() -> None:
    attachments, devices = "volume_attachments", "compute_block_devices"
    run(
        f"CREATE TABLE {attachments} (id TEXT NOT NULL PRIMARY KEY, status TEXT, instance TEXT, volume_id TEXT,"
        " attached_at TEXT, attach_mode TEXT, connection_info TEXT, project_id TEXT, connector TEXT,"
        " attached_host TEXT, mountpoint TEXT, is_served BOOLEAN, created_at TEXT, updated_at TEXT)",
        f"CREATE INDEX ix_{attachments}_project_id_created_at_id ON {attachments} (project_id, created_at, id)",
        f"CREATE INDEX ix_{attachments}_created_at_id ON {attachments} (created_at, id)",
        f"CREATE INDEX ix_{attachments}_volume_id ON {attachments} (volume_id)",
        f"CREATE INDEX ix_{attachments}_instance ON {attachments} (instance)",
        f"CREATE TABLE {devices} (id TEXT NOT NULL PRIMARY KEY, server_id TEXT, volume_id TEXT, attachment_id TEXT,"
        " device TEXT, tag TEXT, delete_on_termination BOOLEAN, is_root BOOLEAN, is_readonly BOOLEAN,"
        " state TEXT, number BIGINT)",
        f"CREATE INDEX ix_{devices}_server_id_number ON {devices} (server_id, number)",
        f"CREATE INDEX ix_{devices}_volume_id ON {devices} (volume_id)",
    )


def downgrade() -> None:
    run("DROP TABLE volume_attachments", "DROP TABLE compute_block_devices")
