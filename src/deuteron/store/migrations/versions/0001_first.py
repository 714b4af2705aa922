"""The first schema, frozen: what version 0.1.0 made, whatever the declarations have become since."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE changes (
        revision INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,
        kind TEXT NOT NULL,
        object_id TEXT NOT NULL,
        deleted BOOLEAN NOT NULL,
        PRIMARY KEY (revision, ordinal)
    )
    """,
    """
    CREATE TABLE compute_actions (
        id TEXT NOT NULL,
        server_id TEXT,
        request_id TEXT,
        action TEXT,
        user_id TEXT,
        project_id TEXT,
        start_time TEXT,
        updated_at TEXT,
        message TEXT,
        events TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_compute_actions_server_id ON compute_actions (server_id)",
    """
    CREATE TABLE compute_flavors (
        id TEXT NOT NULL,
        name TEXT,
        vcpus BIGINT,
        ram BIGINT,
        disk BIGINT,
        ephemeral BIGINT,
        swap BIGINT,
        is_public BOOLEAN,
        disabled BOOLEAN,
        description TEXT,
        extra_specs TEXT,
        projects TEXT,
        created_at TEXT,
        PRIMARY KEY (id),
        CONSTRAINT uq_compute_flavors_name UNIQUE (name)
    )
    """,
    """
    CREATE TABLE compute_keypairs (
        id TEXT NOT NULL,
        number BIGINT,
        user_id TEXT,
        name TEXT,
        type TEXT,
        public_key TEXT,
        fingerprint TEXT,
        created_at TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_compute_keypairs_user_id_name ON compute_keypairs (user_id, name)",
    """
    CREATE TABLE compute_quotas (
        project_id TEXT NOT NULL,
        name TEXT NOT NULL,
        hard_limit INTEGER NOT NULL,
        PRIMARY KEY (project_id, name)
    )
    """,
    """
    CREATE TABLE compute_server_groups (
        id TEXT NOT NULL,
        name TEXT,
        policy TEXT,
        rules TEXT,
        project_id TEXT,
        user_id TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_compute_server_groups_project_id ON compute_server_groups (project_id)",
    """
    CREATE TABLE compute_servers (
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
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_compute_servers_host ON compute_servers (host)",
    "CREATE INDEX ix_compute_servers_project_id_created ON compute_servers (project_id, created)",
    """
    CREATE TABLE host_slots (
        host TEXT NOT NULL,
        kind TEXT NOT NULL,
        object_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        parent_id TEXT,
        PRIMARY KEY (host, kind, object_id),
        UNIQUE (host, kind, number)
    )
    """,
    """
    CREATE TABLE hosts (
        name TEXT NOT NULL,
        id TEXT NOT NULL,
        connected BOOLEAN NOT NULL,
        last_heard TEXT,
        started_at TEXT,
        realised_revision BIGINT NOT NULL,
        hello TEXT NOT NULL,
        usage TEXT NOT NULL,
        problems TEXT NOT NULL,
        disabled_services TEXT NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE identity_application_credentials (
        id TEXT NOT NULL,
        name TEXT,
        user_id TEXT,
        project_id TEXT,
        description TEXT,
        expires_at TEXT,
        unrestricted BOOLEAN,
        roles TEXT,
        secret_hash TEXT NOT NULL,
        extra TEXT,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX ix_identity_application_credentials_user_id_name ON identity_application_credentials (user_id, name)
    """,
    """
    CREATE TABLE identity_assignments (
        actor_kind TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        target_kind TEXT NOT NULL,
        target_id TEXT NOT NULL,
        role_id TEXT NOT NULL,
        inherited BOOLEAN NOT NULL,
        PRIMARY KEY (actor_kind, actor_id, target_kind, target_id, role_id, inherited)
    )
    """,
    "CREATE INDEX ix_identity_assignments_target ON identity_assignments (target_kind, target_id)",
    """
    CREATE TABLE identity_credentials (
        id TEXT NOT NULL,
        type TEXT,
        blob TEXT,
        user_id TEXT,
        project_id TEXT,
        extra TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_identity_credentials_user_id ON identity_credentials (user_id)",
    """
    CREATE TABLE identity_endpoints (
        id TEXT NOT NULL,
        service_id TEXT,
        interface TEXT,
        region_id TEXT,
        url TEXT,
        enabled BOOLEAN,
        extra TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_identity_endpoints_service_id ON identity_endpoints (service_id)",
    """
    CREATE TABLE identity_groups (
        id TEXT NOT NULL,
        name TEXT,
        domain_id TEXT,
        description TEXT,
        extra TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_identity_groups_domain_id_name ON identity_groups (domain_id, name)",
    """
    CREATE TABLE identity_implied_roles (
        prior_role_id TEXT NOT NULL,
        implied_role_id TEXT NOT NULL,
        PRIMARY KEY (prior_role_id, implied_role_id)
    )
    """,
    """
    CREATE TABLE identity_memberships (
        group_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        PRIMARY KEY (group_id, user_id)
    )
    """,
    "CREATE INDEX ix_identity_memberships_user ON identity_memberships (user_id)",
    """
    CREATE TABLE identity_projects (
        id TEXT NOT NULL,
        name TEXT,
        domain_id TEXT,
        description TEXT,
        enabled BOOLEAN,
        parent_id TEXT,
        is_domain BOOLEAN,
        tags TEXT,
        options TEXT,
        extra TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_identity_projects_domain_id_name ON identity_projects (domain_id, name)",
    "CREATE INDEX ix_identity_projects_parent_id ON identity_projects (parent_id)",
    """
    CREATE TABLE identity_regions (
        id TEXT NOT NULL,
        description TEXT,
        parent_region_id TEXT,
        extra TEXT,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE identity_revocations (
        audit_id TEXT NOT NULL,
        expires_at BIGINT NOT NULL,
        PRIMARY KEY (audit_id)
    )
    """,
    """
    CREATE TABLE identity_roles (
        id TEXT NOT NULL,
        name TEXT,
        domain_id TEXT,
        description TEXT,
        options TEXT,
        extra TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_identity_roles_name ON identity_roles (name)",
    """
    CREATE TABLE identity_services (
        id TEXT NOT NULL,
        type TEXT,
        name TEXT,
        description TEXT,
        enabled BOOLEAN,
        extra TEXT,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE identity_state (
        name TEXT NOT NULL,
        number INTEGER NOT NULL,
        text TEXT,
        PRIMARY KEY (name),
        UNIQUE (name)
    )
    """,
    """
    CREATE TABLE identity_users (
        id TEXT NOT NULL,
        name TEXT,
        domain_id TEXT,
        enabled BOOLEAN,
        description TEXT,
        email TEXT,
        default_project_id TEXT,
        password_expires_at TEXT,
        options TEXT,
        password_hash TEXT,
        tokens_valid_after_us BIGINT NOT NULL,
        extra TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_identity_users_domain_id_name ON identity_users (domain_id, name)",
    """
    CREATE TABLE image_images (
        id TEXT NOT NULL,
        name TEXT,
        status TEXT,
        visibility TEXT,
        owner TEXT,
        container_format TEXT,
        disk_format TEXT,
        min_disk BIGINT,
        min_ram BIGINT,
        protected BOOLEAN,
        os_hidden BOOLEAN,
        checksum TEXT,
        os_hash_algo TEXT,
        os_hash_value TEXT,
        size BIGINT,
        virtual_size BIGINT,
        created_at TEXT,
        updated_at TEXT,
        tags TEXT,
        properties TEXT NOT NULL,
        sha256 TEXT,
        is_inspected BOOLEAN NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_image_images_owner ON image_images (owner)",
    "CREATE INDEX ix_image_images_visibility ON image_images (visibility)",
    """
    CREATE TABLE image_members (
        image_id TEXT NOT NULL,
        member_id TEXT NOT NULL,
        status TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        PRIMARY KEY (image_id, member_id)
    )
    """,
    "CREATE INDEX ix_image_members_member ON image_members (member_id)",
    """
    CREATE TABLE network_address_scopes (
        id TEXT NOT NULL,
        name TEXT,
        project_id TEXT,
        shared BOOLEAN,
        ip_version BIGINT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_network_address_scopes_project_id ON network_address_scopes (project_id)",
    """
    CREATE TABLE network_default_groups (
        project_id TEXT NOT NULL,
        security_group_id TEXT NOT NULL,
        PRIMARY KEY (project_id)
    )
    """,
    """
    CREATE TABLE network_floatingips (
        id TEXT NOT NULL,
        project_id TEXT,
        floating_ip_address TEXT,
        floating_network_id TEXT,
        router_id TEXT,
        port_id TEXT,
        fixed_ip_address TEXT,
        status TEXT,
        description TEXT,
        tags TEXT,
        created_at TEXT,
        updated_at TEXT,
        revision_number BIGINT,
        floating_port_id TEXT NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (port_id, fixed_ip_address, floating_network_id)
    )
    """,
    "CREATE INDEX ix_network_floatingips_floating_ip_address ON network_floatingips (floating_ip_address)",
    "CREATE INDEX ix_network_floatingips_floating_network_id ON network_floatingips (floating_network_id)",
    "CREATE INDEX ix_network_floatingips_floating_port ON network_floatingips (floating_port_id)",
    "CREATE INDEX ix_network_floatingips_port_id ON network_floatingips (port_id)",
    "CREATE INDEX ix_network_floatingips_project_id ON network_floatingips (project_id)",
    "CREATE INDEX ix_network_floatingips_router_id ON network_floatingips (router_id)",
    """
    CREATE TABLE network_ip_allocations (
        subnet_id TEXT NOT NULL,
        number TEXT NOT NULL,
        ip_address TEXT NOT NULL,
        port_id TEXT NOT NULL,
        network_id TEXT NOT NULL,
        PRIMARY KEY (subnet_id, number)
    )
    """,
    "CREATE INDEX ix_network_ip_allocations_address ON network_ip_allocations (network_id, ip_address)",
    "CREATE INDEX ix_network_ip_allocations_port_id ON network_ip_allocations (port_id)",
    """
    CREATE TABLE network_ip_pools (
        subnet_id TEXT NOT NULL,
        first TEXT NOT NULL,
        last TEXT NOT NULL,
        hint TEXT NOT NULL,
        PRIMARY KEY (subnet_id, first)
    )
    """,
    """
    CREATE TABLE network_networks (
        id TEXT NOT NULL,
        name TEXT,
        project_id TEXT,
        admin_state_up BOOLEAN,
        mtu BIGINT,
        status TEXT,
        subnets TEXT,
        shared BOOLEAN,
        availability_zone_hints TEXT,
        availability_zones TEXT,
        ipv4_address_scope TEXT,
        ipv6_address_scope TEXT,
        router_external BOOLEAN,
        description TEXT,
        port_security_enabled BOOLEAN,
        is_default BOOLEAN,
        tags TEXT,
        created_at TEXT,
        updated_at TEXT,
        revision_number BIGINT,
        provider_network_type TEXT,
        provider_physical_network TEXT,
        provider_segmentation_id BIGINT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_network_networks_name ON network_networks (name)",
    "CREATE INDEX ix_network_networks_project_id ON network_networks (project_id)",
    """
    CREATE TABLE network_ports (
        id TEXT NOT NULL,
        name TEXT,
        network_id TEXT,
        project_id TEXT,
        mac_address TEXT,
        admin_state_up BOOLEAN,
        status TEXT,
        device_id TEXT,
        device_owner TEXT,
        fixed_ips TEXT,
        allowed_address_pairs TEXT,
        extra_dhcp_opts TEXT,
        security_groups TEXT,
        description TEXT,
        binding_vnic_type TEXT,
        binding_profile TEXT,
        binding_host_id TEXT,
        binding_vif_type TEXT,
        binding_vif_details TEXT,
        port_security_enabled BOOLEAN,
        tags TEXT,
        created_at TEXT,
        updated_at TEXT,
        revision_number BIGINT,
        binding_refusal TEXT,
        PRIMARY KEY (id),
        CONSTRAINT uq_network_ports_network_id_mac_address UNIQUE (network_id, mac_address)
    )
    """,
    "CREATE INDEX ix_network_ports_binding_host_id ON network_ports (binding_host_id)",
    "CREATE INDEX ix_network_ports_device_id ON network_ports (device_id)",
    "CREATE INDEX ix_network_ports_name ON network_ports (name)",
    "CREATE INDEX ix_network_ports_network_id_id ON network_ports (network_id, id)",
    "CREATE INDEX ix_network_ports_owner ON network_ports (device_owner)",
    "CREATE INDEX ix_network_ports_project_id ON network_ports (project_id)",
    """
    CREATE TABLE network_quotas (
        project_id TEXT NOT NULL,
        resource TEXT NOT NULL,
        "limit" BIGINT NOT NULL,
        PRIMARY KEY (project_id, resource)
    )
    """,
    """
    CREATE TABLE network_rbac_policies (
        id TEXT NOT NULL,
        project_id TEXT,
        object_type TEXT,
        object_id TEXT,
        target_tenant TEXT,
        action TEXT,
        PRIMARY KEY (id),
        CONSTRAINT uq_network_rbac_policies_object_type_object_id_target_tenant_action
            UNIQUE (object_type, object_id, target_tenant, action)
    )
    """,
    "CREATE INDEX ix_network_rbac_policies_project_id ON network_rbac_policies (project_id)",
    "CREATE INDEX ix_network_rbac_policies_target_tenant ON network_rbac_policies (target_tenant)",
    """
    CREATE TABLE network_routers (
        id TEXT NOT NULL,
        name TEXT,
        project_id TEXT,
        admin_state_up BOOLEAN,
        status TEXT,
        external_gateway_info TEXT,
        description TEXT,
        availability_zones TEXT,
        distributed BOOLEAN,
        ha BOOLEAN,
        availability_zone_hints TEXT,
        routes TEXT,
        flavor_id TEXT,
        tags TEXT,
        created_at TEXT,
        updated_at TEXT,
        revision_number BIGINT,
        host TEXT,
        gateway_port_id TEXT,
        gateway_network_id TEXT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_network_routers_gateway_network_id ON network_routers (gateway_network_id)",
    "CREATE INDEX ix_network_routers_name ON network_routers (name)",
    "CREATE INDEX ix_network_routers_project_id ON network_routers (project_id)",
    """
    CREATE TABLE network_security_group_ports (
        security_group_id TEXT NOT NULL,
        port_id TEXT NOT NULL,
        PRIMARY KEY (security_group_id, port_id)
    )
    """,
    "CREATE INDEX ix_network_security_group_ports_port ON network_security_group_ports (port_id)",
    """
    CREATE TABLE network_security_group_rules (
        id TEXT NOT NULL,
        project_id TEXT,
        security_group_id TEXT,
        ethertype TEXT,
        direction TEXT,
        protocol TEXT,
        port_range_min BIGINT,
        port_range_max BIGINT,
        remote_ip_prefix TEXT,
        remote_address_group_id TEXT,
        normalized_cidr TEXT,
        remote_group_id TEXT,
        belongs_to_default_sg BOOLEAN,
        description TEXT,
        tags TEXT,
        created_at TEXT,
        updated_at TEXT,
        revision_number BIGINT,
        signature TEXT NOT NULL,
        protocol_number BIGINT,
        PRIMARY KEY (id),
        UNIQUE (security_group_id, signature)
    )
    """,
    "CREATE INDEX ix_network_security_group_rules_project_id ON network_security_group_rules (project_id)",
    """
    CREATE INDEX ix_network_security_group_rules_remote_group_id ON network_security_group_rules (remote_group_id)
    """,
    """
    CREATE TABLE network_security_groups (
        id TEXT NOT NULL,
        name TEXT,
        stateful BOOLEAN,
        project_id TEXT,
        description TEXT,
        shared BOOLEAN,
        tags TEXT,
        created_at TEXT,
        updated_at TEXT,
        revision_number BIGINT,
        is_default BOOLEAN NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_network_security_groups_name ON network_security_groups (name)",
    "CREATE INDEX ix_network_security_groups_project_id ON network_security_groups (project_id)",
    """
    CREATE TABLE network_segments (
        network_type TEXT NOT NULL,
        physical_network TEXT NOT NULL,
        segmentation_id BIGINT NOT NULL,
        network_id TEXT NOT NULL,
        PRIMARY KEY (network_type, physical_network, segmentation_id)
    )
    """,
    "CREATE INDEX ix_network_segments_network_id ON network_segments (network_id)",
    """
    CREATE TABLE network_subnetpools (
        id TEXT NOT NULL,
        name TEXT,
        project_id TEXT,
        prefixes TEXT,
        default_prefixlen BIGINT,
        min_prefixlen BIGINT,
        max_prefixlen BIGINT,
        default_quota BIGINT,
        ip_version BIGINT,
        address_scope_id TEXT,
        shared BOOLEAN,
        is_default BOOLEAN,
        description TEXT,
        tags TEXT,
        created_at TEXT,
        updated_at TEXT,
        revision_number BIGINT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_network_subnetpools_project_id ON network_subnetpools (project_id)",
    """
    CREATE TABLE network_subnets (
        id TEXT NOT NULL,
        name TEXT,
        project_id TEXT,
        network_id TEXT,
        ip_version BIGINT,
        subnetpool_id TEXT,
        enable_dhcp BOOLEAN,
        ipv6_ra_mode TEXT,
        ipv6_address_mode TEXT,
        gateway_ip TEXT,
        cidr TEXT,
        allocation_pools TEXT,
        host_routes TEXT,
        dns_nameservers TEXT,
        description TEXT,
        router_external BOOLEAN,
        service_types TEXT,
        tags TEXT,
        created_at TEXT,
        updated_at TEXT,
        revision_number BIGINT,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_network_subnets_name ON network_subnets (name)",
    "CREATE INDEX ix_network_subnets_network_id ON network_subnets (network_id)",
    "CREATE INDEX ix_network_subnets_project_id ON network_subnets (project_id)",
    "CREATE INDEX ix_network_subnets_subnetpool_id ON network_subnets (subnetpool_id)",
)


def upgrade() -> None:
    run(*STATEMENTS)
