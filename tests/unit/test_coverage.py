"""What docs/api-coverage.md says is there, in its words, and the test that fails when it is not.

The network's chapter is held in api_network/test_coverage.py.
"""

from __future__ import annotations

import pytest

from tests.coverage.words import paragraph, unheld

PEOPLE, IMAGES, DISKS, SERVERS = (
    f"spec/{service}-use-cases.yaml::" for service in ("identity", "image", "volume", "compute")
)
GROUPS = "unit/api_volume/test_groups.py::"
BACKUPS = "unit/api_volume/test_backups.py::"
OPERATIONS = "unit/api_volume/test_operations.py::"
MANAGED = "unit/api_volume/test_manage.py::"
VOLUMES, TYPES = "unit/api_volume/test_volumes.py::", "unit/api_volume/test_types.py::"
ACCOUNTS = "unit/api_identity/test_compliance.py::"
METADEFS = "unit/api_image/test_metadefs.py::"
ROOTS = "unit/api_compute/test_root_volumes.py::"
FLOATING = "unit/api_compute/test_floating_ips.py::"
SHAPES, SHELVES = "unit/api_compute/test_shapes.py::", "unit/api_compute/test_shelves.py::"
LIVE = "unit/api_compute/test_live_moves.py::"
STORES = "unit/api_image/test_stores.py::"
BOOT, API = "unit/api_compute/test_boot.py::", "unit/api_compute/test_api.py::"

IDENTITY = {
    "`auth` (password": PEOPLE + "now she logs in to the project",
    "token, application credential": PEOPLE + "the program logs in: auth application_credential",
    "one-time password": "unit/api_identity/test_factors.py::test_a_code_logs_in_in_its_half_minute_and_the_next: totp",
    "several factors with receipts; scopes": "unit/api_identity/test_factors.py::"
    "test_who_proves_less_gets_a_receipt_and_goes_on_with_it: multi_factor_auth_rules",
    "project": PEOPLE + "a token leads to another of another scope: project",
    "domain": PEOPLE + "has each of them by itself: domain",
    "system": PEOPLE + "an administrator of a domain's and the system's scope: system",
    "unscoped": PEOPLE + "without a role she logs in to nothing: auth",
    "Fernet with rotation": "unit/api_identity/test_tokens.py::"
    "test_keys_rotate_when_the_primary_is_older_than_a_token_lives",
    "revocation": PEOPLE + "she logs out: DELETE auth/tokens",
    "catalog)": PEOPLE + "what is where: catalog",
    "`domains`": PEOPLE + "and goes with all that is in it",
    "`projects` with tags and parents": PEOPLE + "a project below it: projects parent_id",
    "`users`": PEOPLE + "a user",
    "`groups`": PEOPLE + "takes her in",
    "`roles` also of domains": "unit/api_identity/test_roles.py::test_a_role_of_a_domain_stays_in_it: roles domain_id",
    "implied roles (`role_inferences`)": "unit/api_identity/test_identity.py::"
    "test_role_inferences_list_what_each_role_implies",
    "`role_assignments` with effective": PEOPLE + "and what it implies, when asked for what is effective",
    "names": PEOPLE + "with names: include_names",
    "subtree": "unit/api_identity/test_answers.py::"
    "test_assignments_of_a_project_come_with_its_subtree_when_asked: include_subtree",
    "inherited assignments (`OS-INHERIT`)": "unit/api_identity/test_identity.py::"
    "test_inherited_roles_count_on_the_projects_of_a_domain",
    "`system` roles": PEOPLE + "then she reads all of it: system",
    "`regions`": PEOPLE + "a region",
    "`services`": PEOPLE + "a service",
    "`endpoints`": PEOPLE + "an endpoint",
    "`credentials`": PEOPLE + "and listed by their user",
    "application credentials below `users`": PEOPLE + "a key for a program: users application_credentials",
    "with access rules, which every service enforces": "unit/api_identity/test_access_rules.py::"
    "test_a_program_does_what_its_rules_say_and_nothing_else: access_rules",
    "EC2 credentials (`OS-EC2`)": "unit/api_identity/test_ec2.py::test_keys_are_made_shown_listed_and_deleted: OS-EC2",
    "what is signed with them (`ec2tokens`, `s3tokens`)": "unit/api_identity/test_ec2.py::"
    "test_what_the_client_signs_is_a_token: ec2tokens",
    "trusts (`OS-TRUST`) with impersonation": "unit/api_identity/test_trusts.py::"
    "test_a_trustee_acts_with_the_roles_that_it_was_given: OS-TRUST",
    "so many uses": "unit/api_identity/test_trusts.py::test_a_trust_gives_so_many_tokens: remaining_uses",
    "an end": "unit/api_identity/test_trusts.py::test_with_a_trust_end_its_tokens: expires_at",
    "redelegation": "unit/api_identity/test_trusts.py::"
    "test_a_trust_is_handed_on_as_often_as_it_says: redelegation_count",
    "security compliance ([operations.md](operations.md#what-an-operator-may-set)): lock-out": ACCOUNTS
    + "test_so_many_wrong_passwords_lock_a_user_out_for_a_while: lockout_failure_attempts",
    "expiry": ACCOUNTS + "test_a_password_ends: password_expires_days",
    "history": ACCOUNTS + "test_the_last_passwords_are_not_taken_again: unique_last_password_count",
    "minimum age": ACCOUNTS + "test_a_password_is_kept_for_a_while: minimum_password_age",
    "expression of passwords": ACCOUNTS + "test_a_password_matches_what_the_operator_wants: password_regex",
    "first use": ACCOUNTS + "test_a_password_that_was_given_is_changed_first: change_password_upon_first_use",
    "inactive users": ACCOUNTS + "test_who_is_away_for_long_is_disabled: disable_user_account_days_inactive",
    "the options of users that exempt from them": ACCOUNTS
    + "test_a_user_may_be_exempt_from_being_locked_out: ignore_lockout_failure_attempts",
    "unified limits (`registered_limits`": "unit/api_identity/test_limits.py::"
    "test_registered_limits_are_made_changed_and_deleted: registered_limits",
    "`limits`": "unit/api_identity/test_limits.py::test_a_limit_is_instead_of_a_registered_one: limits",
    "flat and strict two level)": "unit/api_identity/test_limits.py::"
    "test_with_two_levels_a_project_has_no_more_than_its_domain: strict_two_level",
    "which Image obeys": "unit/api_identity/test_limits.py::"
    "test_images_are_counted_against_the_limits: image_count_total",
    "endpoint filters (`OS-EP-FILTER`), one by one": "unit/api_identity/test_endpoint_filters.py::"
    "test_a_project_is_shown_the_endpoints_that_are_named_for_it: OS-EP-FILTER",
    "by `endpoint_groups`, which the catalog obeys": "unit/api_identity/test_endpoint_filters.py::"
    "test_a_project_is_shown_the_endpoints_of_its_groups: endpoint_groups",
    "The roles admin, manager, member, reader and service are made at every start where they are missing": (
        "unit/api_identity/test_roles.py::test_a_cloud_of_before_gets_the_roles_and_what_they_imply_at_its_next_start"
    ),
    "rules and scopes are Keystone's ([security.md](security.md#users))": (
        "unit/personas/test_rules.py::test_a_rule_allows_what_the_real_service_allows"
    ),
    "Filters that Keystone documents act": "unit/api_identity/test_answers.py::"
    "test_users_are_found_by_every_filter_that_keystone_has",
    "values that cannot be met are refused": "unit/api_identity/test_answers.py::"
    "test_filters_of_assignments_that_exclude_each_other_are_refused",
}

IMAGE = {
    "`images` with properties": IMAGES + "a change is a patch of its own media type: images /os_distro",
    "tags": IMAGES + "tags find images: tag=small",
    "members (sharing)": IMAGES + "and has it in her list: images",
    "visibility": IMAGES + "who does: /visibility",
    "hidden ones (os_hidden)": IMAGES + "hidden ones are listed when asked for: os_hidden",
    "upload and download with checksums": IMAGES + "with them it is active, with sums of both kinds: checksum",
    "deactivation": IMAGES + "nobody downloads it then: file",
    "`schemas`": IMAGES + "schemas tell what an image is",
    "staging and `import` (glance-direct": IMAGES + "the staged data are imported: import",
    "web-download": "unit/api_image/test_web_download.py::"
    "test_an_image_is_downloaded_from_where_its_operator_allows_it: web-download",
    "which reaches no internal address": (
        "unit/api_image/test_web_download.py::test_what_is_internal_is_not_reached: does not pass filtering"
    ),
    "copy-image)": STORES + "test_an_image_is_copied_to_stores_and_read_from_the_heaviest: copy",
    "`stores` that an operator sets (`info/stores` with `detail`": (
        STORES + "test_stores_are_listed_and_administrators_see_what_they_are_made_of: info/stores/detail"
    ),
    "uploads": STORES + "test_data_go_to_the_default_store_or_to_the_one_that_is_named: x-image-meta-store",
    "imports to named ones": STORES + "test_what_is_staged_becomes_an_images_in_several_stores: stores",
    "downloads that prefer some": STORES + "test_a_download_may_prefer_a_store: prefer",
    "`stores` of images": STORES + "test_an_image_is_copied_to_stores_and_read_from_the_heaviest: stores",
    "`DELETE stores/STORE/IMAGE`": STORES + "test_a_store_is_rid_of_its_copy_but_not_of_the_last: stores",
    "`tasks` with what became of each import": IMAGES + "an administrator sees what was done: tasks",
    "and of type import as well": (
        "unit/api_image/test_web_download.py::test_a_task_makes_an_image_of_what_lies_elsewhere: import"
    ),
    "also of one image": "unit/api_image/test_imports.py::"
    "test_administrators_list_tasks_and_projects_see_those_of_their_images: tasks",
    "metadata definitions (`metadefs`: `namespaces`": METADEFS + "test_a_namespace_from_creation_to_deletion",
    "`objects`": METADEFS + "test_objects_come_and_go",
    "`properties`": METADEFS + "test_properties_come_and_go",
    "`tags`": METADEFS + "test_tags_come_and_go",
    "`resource_types`) with OpenStack's standard namespaces": (
        METADEFS + "test_namespaces_are_associated_with_types_of_resources: OS::Glance::Image"
    ),
    "`info` (import methods": IMAGES + "what can be imported: info",
    "usage)": IMAGES + "what a project uses of its limits: usage",
    "limits of a project on images, their data, what is staged and what is under way": (
        "unit/api_image/test_imports.py::test_what_a_project_stages_and_imports_is_limited: image_stage_total"
    ),
    "Formats raw, qcow2, vmdk, vdi, vhd, vhdx, iso, aki, ari, ami are inspected before they are taken:": (
        "unit/api_image/test_inspect.py::test_an_honest_image_is_accepted_with_its_virtual_size: "
        "raw qcow2 vmdk vdi vhd vhdx iso ami aki ari"
    ),
    "backing files, data files and external extents are refused": (
        "unit/api_image/test_inspect.py::test_what_qemu_img_makes_with_other_files_is_refused"
    ),
}

VOLUME = {
    "`volumes` (empty": DISKS + "a volume is asked for",
    "from an image": VOLUMES + "test_volumes_are_made_of_images_snapshots_and_volumes: imageRef",
    "a snapshot": DISKS + "of what was kept a larger one is made: snapshot_id",
    "a volume": VOLUMES + "test_volumes_are_made_of_images_snapshots_and_volumes: source_volid",
    "`metadata` with ETags": VOLUMES + "test_metadata_of_a_volume_is_changed_by_who_saw_it_last: metadata",
    "`summary`": VOLUMES + "test_lists_are_filtered_sorted_paged_and_counted",
    "extend": DISKS + "which grows: os-extend",
    "retype": VOLUMES + "test_a_volume_takes_another_type_with_its_quotas: os-retype",
    "to an image": VOLUMES + "test_a_volume_becomes_an_image_by_its_host: os-volume_upload_image",
    "read-only flag": VOLUMES + "test_small_actions_change_what_a_volume_says_of_itself: os-update_readonly_flag",
    "bootable": VOLUMES + "test_small_actions_change_what_a_volume_says_of_itself: os-set_bootable",
    "image metadata": VOLUMES + "test_small_actions_change_what_a_volume_says_of_itself: os-set_image_metadata",
    "delete with its snapshots": DISKS + "a volume goes with what was kept of it: cascade",
    "delete by force": VOLUMES + "test_a_volume_that_its_host_cannot_make_is_in_error_until_it_can: os-force_delete",
    "`manageable_volumes` and `manageable_snapshots`": MANAGED
    + "test_a_disk_of_nobody_is_listed_managed_and_let_go_again: manageable_volumes manageable_snapshots",
    "also as `os-volume-manage` and `os-snapshot-manage`": MANAGED
    + "test_a_disk_of_nobody_is_listed_managed_and_let_go_again: os-volume-manage",
    "migrate)": "unit/api_volume/test_moves.py::"
    "test_a_volume_goes_to_another_host_and_nothing_is_left_behind: os-migrate_volume",
    "revert to the latest snapshot": VOLUMES + "test_a_volume_becomes_again_what_its_latest_snapshot_kept: revert",
    "unmanage": MANAGED + "test_a_disk_of_nobody_is_listed_managed_and_let_go_again: os-unmanage",
    "reset": VOLUMES + "test_small_actions_change_what_a_volume_says_of_itself: os-reset_status",
    "`snapshots` with `metadata`": VOLUMES + "test_a_snapshot_keeps_its_volume_and_goes_with_it_when_asked",
    "`attachments` (reserve, connect, complete, let go": "unit/api_volume/test_attachments.py::"
    "test_an_attachment_reserves_connects_completes_and_ends",
    "actions of volumes for older clients)": "unit/api_volume/test_attachments.py::"
    "test_older_clients_attach_by_actions: os-attach os-detach os-initialize_connection",
    "`backups` (whole": BACKUPS + "test_a_backup_is_made_shown_changed_restored_and_deleted",
    "incremental, of a snapshot": BACKUPS
    + "test_an_incremental_backup_needs_the_one_it_differs_from: incremental snapshot_id",
    "`restore` to a new volume or a given one": BACKUPS
    + "test_a_backup_is_made_shown_changed_restored_and_deleted: restore",
    "`export_record`, `import_record`": BACKUPS + "test_a_record_of_a_backup_makes_another_of_the_same_data",
    "`group_types` with `group_specs`": GROUPS + "test_group_types_have_specs_that_administrators_see",
    "`groups` (of copies of another, too": GROUPS
    + "test_a_snapshot_of_a_group_is_all_of_it_or_nothing: create-from-src",
    "add and remove volumes, delete with them)": GROUPS
    + "test_a_group_has_volumes_that_go_together: add_volumes remove_volumes delete-volumes",
    "`group_snapshots` (all of them or none)": GROUPS + "test_a_snapshot_of_a_group_is_all_of_it_or_nothing",
    "`os-volume-transfer`": DISKS + "it is offered to another project",
    "`volume-transfers` (to another project, with its snapshots or without)": VOLUMES
    + "test_a_volume_goes_to_another_project_that_has_the_key: volume-transfers no_snapshots",
    "`types` with `extra_specs`": TYPES + "test_extra_specs_come_and_go_and_few_of_them_are_everybodys",
    "`action` (a project may use one, or not any more)": TYPES
    + "test_a_project_sees_public_types_and_those_it_was_let_to_use: addProjectAccess removeProjectAccess",
    "`os-volume-type-access`": TYPES + "test_a_project_sees_public_types_and_those_it_was_let_to_use",
    "`default-types` (of a project)": "unit/api_volume/test_default_types.py::"
    "test_volumes_that_name_no_type_have_that_of_their_project",
    "`qos-specs` (`delete_keys`, `associate`, `disassociate`, `disassociate_all`, `associations`)": TYPES
    + "test_qos_specs_are_for_types",
    "`os-quota-sets` with `defaults`, `os-quota-class-sets`": TYPES
    + "test_quotas_are_those_of_the_class_until_a_project_has_its_own",
    "`limits`": DISKS + "what is used counts",
    "also of each type": VOLUMES + "test_a_volume_takes_another_type_with_its_quotas: volumes_",
    "`messages` of what failed on its way": DISKS + "and a message says why",
    "freeze, thaw)": OPERATIONS + "test_a_frozen_back_end_deletes_nothing_and_none_is_failed_over: freeze thaw",
    "`os-hosts`": OPERATIONS + "test_hosts_tell_what_they_keep_and_are_disabled: os-hosts",
    "`clusters`": OPERATIONS + "test_services_are_in_no_clusters: clusters",
    "work for `workers` to clean up": OPERATIONS + "test_a_cleanup_tells_who_is_at_something_and_who_will_be: cleanup",
    "of which there is none": OPERATIONS + "test_services_are_in_no_clusters: clusters",
    "`encryption` of volumes and types": "unit/api_volume/test_encryption.py::"
    "test_a_type_says_how_its_volumes_are_encrypted_until_it_has_some: encryption",
    "`os-services` (enable, disable": VOLUMES
    + "test_without_a_host_that_has_room_a_volume_is_in_error_and_says_why: os-services",
    "`os-availability-zone`, `scheduler-stats` (`get_pools`), `capabilities`": VOLUMES
    + "test_without_a_host_that_has_room_a_volume_is_in_error_and_says_why",
    "`resource_filters`": VOLUMES + "test_lists_are_filtered_sorted_paged_and_counted",
    "`extensions`": TYPES + "test_what_is_listed_of_extensions_is_there",
    "Each path is there with the project's id (`{project_id}`) and without": TYPES
    + "test_the_project_may_stand_in_the_path_or_not_and_is_the_tokens",
}

CONSOLES = "unit/api_compute/test_consoles.py::"
COMPUTE = {
    "`servers` (networks or ports": BOOT + "test_a_given_port_is_taken_and_given_back: port",
    "several at once": SERVERS + "two are asked for in one request: min_count max_count",
    "metadata": SERVERS + "other words instead: metadata",
    "tags": SERVERS + "tags find servers: tags=green",
    "user data": "unit/api_compute/test_config_drive.py::"
    "test_the_drive_holds_what_the_metadata_service_says: user_data",
    "config drive with the files of old microversions": "unit/api_compute/test_config_drive.py::"
    "test_files_and_the_password_are_on_the_drive_until_it_is_made_and_kept_nowhere: personality config_drive",
    "key pair": SERVERS + "a server is asked for: key_name",
    "security groups, availability zone with host": "unit/api_compute/test_services.py::test_what_a_service_refuses",
    "scheduler hints (group, same host, different host; others are refused)": (
        API + "test_hints_place_servers_beside_or_apart_from_others: same_host different_host group"
    ),
    "delete": SERVERS + "delete: DELETE",
    "force delete": SERVERS + "force delete: forceDelete",
    "restore (no deletion is deferred, so none is undone: 409)": BOOT
    + "test_an_action_in_the_wrong_state_is_refused_in_novas_words: restore",
    "stop": SERVERS + "stop: os-stop",
    "start": SERVERS + "start: os-start",
    "reboot soft and hard": BOOT + "test_stop_start_reboot_pause_and_suspend_walk_through_novas_states: SOFT HARD",
    "pause": SERVERS + "it is paused: PAUSED",
    "suspend": SERVERS + "it is suspended: SUSPENDED",
    "lock": SERVERS + "then it does nothing for its owner: locked",
    "rebuild": BOOT + "test_a_rebuild_asks_for_a_new_disk_and_keeps_the_addresses: rebuild",
    "reset state": "unit/api_compute/test_reset_state.py::"
    "test_an_error_that_an_administrator_set_stays_until_something_is_asked_for: os-resetState",
    "injecting network information (which finds all as it asks for: Compute keeps nothing of interfaces)": (
        "unit/api_compute/test_bodies.py::test_an_administrator_has_interfaces_told_anew_and_finds_them_so: "
        "injectNetworkInfo"
    ),
    "crash dumps (an NMI to the guest, from 2.17)": "unit/api_compute/test_guests.py::"
    "test_a_guest_is_interrupted_and_the_action_says_what_came_of_it: trigger_crash_dump",
    "setting passwords (by an agent in the guest)": "unit/api_compute/test_guests.py::"
    "test_an_agent_in_the_guest_sets_a_password: changePassword",
    "console log": SERVERS + "what it said while it booted: os-getConsoleOutput",
    "interfaces, security groups": BOOT + "test_security_groups_are_added_and_removed_by_name: addSecurityGroup",
    "images and backups": "unit/api_compute/test_snapshots.py::"
    "test_the_newest_backups_of_a_type_are_kept: createBackup",
    "rescue with its own image or another": SHAPES + "test_a_server_is_rescued_with_an_image_and_goes_back: rescue",
    "resize on its host or another with confirm": SHAPES + "test_a_resize_is_confirmed: confirmResize",
    "revert": SHAPES + "test_a_resize_of_one_that_is_off_is_reverted: revertResize",
    "cold migration": "unit/api_compute/test_cold_moves.py::test_a_server_migrates_and_stays_or_goes_back: migrate",
    "live migration with its disks": LIVE
    + "test_a_server_goes_on_at_the_other_host_when_both_have_said_that_all_of_it_is_there: os-migrateLive",
    "viewers of VNC that are no browsers (where an operator gave them a port)": (
        "unit/api_compute/test_viewers.py::test_a_viewer_with_a_token_speaks_with_the_guest"
    ),
    "consoles by VNC, SPICE and a terminal (`remote-consoles`, and actions until 2.5; RDP is gone, as in Nova)": (
        CONSOLES + "test_each_kind_has_an_address_by_the_action_and_by_the_newer_path: remote-consoles"
    ),
    "`os-console-auth-tokens` from 2.31": CONSOLES
    + "test_a_token_says_to_administrators_what_it_is_for: os-console-auth-tokens",
    "abort": LIVE + "test_a_move_is_aborted_and_forced: DELETE",
    "force complete": LIVE + "test_a_move_is_aborted_and_forced: force_complete",
    "shelve": SHELVES + "test_a_server_that_cannot_be_shelved_goes_on: shelve",
    "shelve offload": SHELVES
    + "test_a_shelved_server_is_on_no_host_and_comes_back_from_its_image_on_another: shelveOffload",
    "unshelve onto any host": SHELVES
    + "test_a_shelved_server_is_on_no_host_and_comes_back_from_its_image_on_another: unshelve",
    "evacuation from a host that is down": "unit/api_compute/test_evacuations.py::"
    "test_a_server_of_a_host_that_is_down_is_built_on_another: evacuate",
    "going to another host with volumes that it reaches)": "unit/api_compute/test_moving_volumes.py::"
    "test_volumes_are_let_go_before_another_host_takes_them: migrate",
    "`flavors` with extra specs and access": SERVERS + "gives it to a project: flavors addTenantAccess",
    "`os-keypairs` (ssh and x509)": "unit/api_compute/test_keys_and_flavors.py::"
    "test_certificates_are_made_until_2_91_and_imported_since: os-keypairs x509",
    "`os-server-groups` (affinity, anti-affinity": API + "test_server_groups_keep_servers_apart",
    "soft ones)": SERVERS + "or that would rather be together: os-server-groups soft-affinity",
    "`os-services` (disable, force down": "unit/api_compute/test_services.py::"
    "test_a_service_that_is_forced_down_shows_down_everywhere_and_takes_no_server: os-services forced_down disabled",
    "deleted when their host has left)": "unit/api_hosts/test_departures.py::"
    "test_the_service_of_a_host_goes_when_the_host_has_left_and_carries_nothing: os-services",
    "`os-hosts` (until 2.42, listed and shown)": "unit/api_compute/test_services.py::"
    "test_the_oldest_path_of_hosts_says_what_is_taken_by_whom: os-hosts",
    "`os-hypervisors` (with `search` and `servers` until 2.52)": API
    + "test_hosts_are_shown_as_services_hypervisors_and_a_zone: os-hypervisors search servers",
    "`os-availability-zone`": SERVERS + "and a zone",
    "`os-aggregates` (with `images` from 2.81)": "unit/api_compute/test_aggregates.py::"
    "test_hosts_of_an_aggregate_have_images_before_servers_need_them: os-aggregates images",
    "`limits`": SERVERS + "what it uses counts",
    "`os-quota-sets`": SERVERS + "more than the quota",
    "(of one user, too)": "unit/api_compute/test_quotas.py::"
    "test_a_user_keeps_to_limits_of_their_own_and_to_the_projects",
    "`os-quota-class-sets`": API + "test_limits_and_quotas_count_what_is_there",
    "`os-simple-tenant-usage`": "unit/api_compute/test_queries.py::"
    "test_usage_counts_servers_that_are_gone_until_they_went",
    "diagnostics": "unit/api_compute/test_diagnostics.py::"
    "test_how_a_guest_does_is_asked_of_its_host_where_it_runs: diagnostics",
    "passwords that guests give": "unit/api_compute/test_passwords.py::"
    "test_a_guest_gives_its_password_once_until_its_owner_clears_it: os-server-password",
    "live migrations of a server": LIVE
    + "test_a_server_goes_on_at_the_other_host_when_both_have_said_that_all_of_it_is_there: memory_remaining_bytes",
    "`os-migrations` (resizes, migrations and evacuations)": "unit/api_compute/test_migrations_listed.py::"
    "test_resizes_and_evacuations_are_listed_with_how_far_they_are: os-migrations",
    "`os-server-external-events`": "unit/api_compute/test_external_events.py::"
    "test_each_event_has_its_code_and_one_takes_an_interface_away: os-server-external-events",
    "`os-instance_usage_audit_log` (no host has noted anything)": "unit/api_compute/test_diagnostics.py::"
    "test_no_host_has_noted_what_servers_used: os-instance_usage_audit_log",
    "the NUMA nodes of a guest (`topology`, from 2.78)": "unit/api_compute/test_topology.py::"
    "test_a_guest_s_nodes_are_shown_and_to_administrators_where_they_are: topology",
    "instance actions (servers that are gone stay known to lists, actions and usage for 30 days)": (
        SERVERS + "its actions stay known: os-instance-actions"
    ),
    "`os-volume_attachments` (attach, detach": "unit/api_compute/test_volumes.py::"
    "test_a_volume_comes_and_goes_as_its_host_says",
    "delete on termination)": "unit/api_compute/test_volumes.py::"
    "test_volumes_are_free_when_their_server_is_gone_or_go_with_it: delete_on_termination",
    "disks of new servers from images, volumes": ROOTS + "test_a_server_boots_from_volumes_that_are_made_for_it",
    "snapshots": ROOTS + "test_a_server_boots_from_what_there_is: snapshot",
    "nothing (block device mappings": ROOTS
    + "test_a_server_boots_from_volumes_that_are_made_for_it: block_device_mapping_v2 blank",
    "the older form of them": ROOTS + "test_a_server_boots_from_what_there_is: block_device_mapping",
    "devices that an image brings)": ROOTS + "test_an_image_brings_its_own_devices: block_device_mapping",
    "`extensions`": "unit/api_compute/test_keys_and_flavors.py::test_the_extensions_are_those_that_work",
    "proxies of old microversions `images` (with metadata)": "unit/api_compute/test_image_metadata.py::"
    "test_metadata_of_images_is_read_written_and_deleted_until_2_38",
    "`os-networks`, `os-tenant-networks`": API + "test_networks_by_the_old_proxies",
    "`os-security-groups`, `os-security-group-rules`": API + "test_security_groups_by_the_old_proxy",
    "`os-volumes`, `os-snapshots`": "unit/api_compute/test_volumes.py::test_volumes_and_snapshots_by_the_old_proxies",
    "`os-floating-ips` and `os-floating-ip-pools`": FLOATING
    + "test_floating_ips_are_made_given_to_servers_and_taken: floating_ip_pools",
    "floating IPs given to servers and taken by actions until 2.43": FLOATING
    + "test_what_is_refused_of_floating_ips_and_to_whom: 2.43",
    "addresses given to servers and taken so": "unit/api_compute/test_fixed_ips.py::"
    "test_an_address_is_given_and_taken_until_2_43",
    "`os-volumes_boot`, which is `servers`": FLOATING + "test_servers_are_also_where_they_booted_from_volumes_once",
}


_OF = "unit/api_placement/test_placement.py::"
_CHOSEN = "unit/api_placement/test_candidates.py::"
PLACEMENT = {
    "`resource_providers`, also in trees": _OF + "test_providers_are_trees: parent_provider_uuid",
    "with `inventories`": _OF + "test_what_is_taken_is_bounded_and_generations_are_kept: inventories",
    "`usages`, `aggregates`": _OF + "test_names_of_clients_stand_beside_the_standard_ones: aggregates",
    "`traits` and `allocations`": _OF + "test_several_consumers_change_together_or_not_at_all: allocations",
    "`resource_classes` and `traits`, OpenStack's standard ones": _OF
    + "test_names_of_clients_stand_beside_the_standard_ones: resource_classes",
    "those that clients make": _OF + "test_names_of_clients_stand_beside_the_standard_ones: CUSTOM_MAGIC",
    "`allocations` of one consumer": _OF + "test_what_is_taken_is_bounded_and_generations_are_kept: allocations",
    "of several at once": _OF + "test_several_consumers_change_together_or_not_at_all",
    "`usages` of projects by user and type of consumer": _OF
    + "test_what_is_taken_is_bounded_and_generations_are_kept: consumer_count",
    "`reshaper`": _OF + "test_what_moves_to_a_child_stays_taken: reshaper",
    "generations of providers and consumers": _OF
    + "test_what_is_taken_is_bounded_and_generations_are_kept: consumer_generation",
    "`allocation_candidates` with groups, traits, aggregates, trees": _CHOSEN
    + "test_groups_traits_and_aggregates_choose_in_a_tree: resources_A",
    "`same_subtree`": _CHOSEN + "test_groups_traits_and_aggregates_choose_in_a_tree: same_subtree",
    "providers that share": _CHOSEN + "test_what_is_shared_in_an_aggregate_is_given_to_other_trees: SHARES",
}


@pytest.mark.parametrize(
    ("title", "held"),
    [
        ("Identity v3", IDENTITY),
        ("Image v2", IMAGE),
        ("Block Storage v3", VOLUME),
        ("Placement", PLACEMENT),
        ("Compute v2.1", COMPUTE),
    ],
    ids=["identity", "image", "volume", "placement", "compute"],
)
def test_all_that_is_there_is_held_by_a_test_that_is_there(title: str, held: dict[str, str]) -> None:
    assert unheld(paragraph(title, "There:"), held) == []


@pytest.mark.parametrize(
    ("said", "held", "problem"),
    [
        ("`images`, tags", {"`images`": IMAGES + "tags find images"}, "said, and no test is named for it: 'tags'"),
        ("`images`", {"`images`": IMAGES + "tags find images", "x": IMAGES + "a tag"}, "not said: 'x'"),
        ("`images`", {"`images`": IMAGES + "a tag that is not there"}, "is not there"),
        ("`images`", {"`images`": "unit/test_coverage.py::test_that_is_not_there"}, "is not there"),
        ("`members`", {"`members`": IMAGES + "tags find images"}, "does not ask for 'members'"),
        ("sharing", {"sharing": IMAGES + "tags find images: accepted"}, "does not ask for 'accepted'"),
    ],
)
def test_what_is_not_held_is_found(said: str, held: dict[str, str], problem: str) -> None:
    (found,) = unheld(said, held)
    assert found.endswith(problem)
