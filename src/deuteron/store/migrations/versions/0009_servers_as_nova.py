"""What compute lacked: config drives, servers that are gone, states and services that an administrator set."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0009"
down_revision = "0001"

STATEMENTS = (
    "ALTER TABLE compute_servers ADD COLUMN config_drive BOOLEAN",
    "ALTER TABLE compute_servers ADD COLUMN injected TEXT",
    "ALTER TABLE compute_servers ADD COLUMN key_type TEXT",
    "ALTER TABLE compute_servers ADD COLUMN state_reset BOOLEAN",
    "ALTER TABLE compute_flavors ADD COLUMN rxtx_factor TEXT",
    "ALTER TABLE hosts ADD COLUMN forced_down BOOLEAN DEFAULT '0' NOT NULL",
    """
    CREATE TABLE compute_deleted_servers (
        id TEXT NOT NULL,
        number BIGINT,
        name TEXT,
        description TEXT,
        hostname TEXT,
        project_id TEXT,
        user_id TEXT,
        created TEXT,
        updated TEXT,
        launched_at TEXT,
        vm_state TEXT,
        task_state TEXT,
        power_state BIGINT,
        power TEXT,
        reboot_generation BIGINT,
        reboot_kind TEXT,
        build_generation BIGINT,
        host TEXT,
        availability_zone TEXT,
        image_id TEXT,
        image TEXT,
        kernel TEXT,
        ramdisk TEXT,
        kernel_args TEXT,
        machine_type TEXT,
        flavor TEXT,
        key_name TEXT,
        key_data TEXT,
        user_data TEXT,
        metadata TEXT,
        tags TEXT,
        nics TEXT,
        security_groups TEXT,
        locked BOOLEAN,
        locked_by TEXT,
        locked_reason TEXT,
        access_ipv4 TEXT,
        access_ipv6 TEXT,
        disk_config TEXT,
        reservation_id TEXT,
        launch_index BIGINT,
        group_id TEXT,
        fault TEXT,
        progress BIGINT,
        config_drive BOOLEAN,
        injected TEXT,
        key_type TEXT,
        state_reset BOOLEAN,
        deleted_at TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_compute_deleted_servers_deleted_at ON compute_deleted_servers (deleted_at)",
    "CREATE INDEX ix_compute_deleted_servers_project_id_deleted_at ON compute_deleted_servers (project_id, deleted_at)",
)


def upgrade() -> None:
    run(*STATEMENTS)


def downgrade() -> None:
    run("DROP TABLE compute_deleted_servers")
    for table, column in (
        ("compute_servers", "config_drive"),
        ("compute_servers", "injected"),
        ("compute_servers", "key_type"),
        ("compute_servers", "state_reset"),
        ("compute_flavors", "rxtx_factor"),
        ("hosts", "forced_down"),
    ):
        run(f"ALTER TABLE {table} DROP COLUMN {column}")
