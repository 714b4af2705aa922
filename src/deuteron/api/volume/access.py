"""Who may do what with volumes: Cinder's rule names with its defaults.

Source: cinder 28.0.0, cinder/policies/*.py; tests/unit/personas/ compares each rule with it.
"""

from __future__ import annotations

from typing import Any, Final

from deuteron.api.call import Call
from deuteron.model.errors import Forbidden

_READ: Final = "rule:admin_or_project_reader"
_WRITE: Final = "rule:admin_or_project_member"
_ADMIN: Final = "rule:admin_only"
_X: Final = "volume_extension:"

POLICIES: Final[dict[str, str]] = {
    f"{_X}type_create": _ADMIN,
    f"{_X}type_update": _ADMIN,
    f"{_X}type_delete": _ADMIN,
    f"{_X}type_get": _READ,
    f"{_X}type_get_all": _READ,
    f"{_X}access_types_extra_specs": _READ,
    f"{_X}access_types_qos_specs_id": _ADMIN,
    f"{_X}types_extra_specs:index": _READ,
    f"{_X}types_extra_specs:show": _READ,
    f"{_X}types_extra_specs:read_sensitive": _ADMIN,
    f"{_X}types_extra_specs:create": _ADMIN,
    f"{_X}types_extra_specs:update": _ADMIN,
    f"{_X}types_extra_specs:delete": _ADMIN,
    f"{_X}volume_type_access": _WRITE,
    f"{_X}volume_type_access:addProjectAccess": _ADMIN,
    f"{_X}volume_type_access:removeProjectAccess": _ADMIN,
    f"{_X}volume_type_access:get_all_for_type": _ADMIN,
    **{f"{_X}default_{name}": _ADMIN for name in ("set_or_update", "get", "get_all", "unset")},
    f"{_X}qos_specs_manage:get_all": _ADMIN,
    f"{_X}qos_specs_manage:get": _ADMIN,
    f"{_X}qos_specs_manage:create": _ADMIN,
    f"{_X}qos_specs_manage:update": _ADMIN,
    f"{_X}qos_specs_manage:delete": _ADMIN,
    f"{_X}quotas:show": _READ,
    f"{_X}quotas:update": _ADMIN,
    f"{_X}quotas:delete": _ADMIN,
    f"{_X}quota_classes:get": _ADMIN,
    f"{_X}quota_classes:update": _ADMIN,
    "limits_extension:used_limits": _READ,
    "volume:create": _WRITE,
    "volume:create_from_image": _WRITE,
    "volume:get": _READ,
    "volume:get_all": _READ,
    "volume:update": _WRITE,
    "volume:delete": _WRITE,
    "volume:force_delete": _ADMIN,
    "volume:extend": _WRITE,
    "volume:retype": _WRITE,
    "volume:reimage": _WRITE,
    "volume:reimage_reserved": _WRITE,
    "volume:revert_to_snapshot": _WRITE,
    "volume:update_readonly_flag": _WRITE,
    "volume:get_volume_metadata": _READ,
    "volume:create_volume_metadata": _WRITE,
    "volume:update_volume_metadata": _WRITE,
    "volume:delete_volume_metadata": _WRITE,
    "volume:get_all_transfers": _READ,
    "volume:create_transfer": _WRITE,
    "volume:get_transfer": _READ,
    "volume:attachment_create": _WRITE,
    "volume:attachment_update": _WRITE,
    "volume:attachment_delete": _WRITE,
    "volume:attachment_complete": _WRITE,
    "volume:multiattach": _WRITE,
    "volume:multiattach_bootable_volume": _WRITE,
    "volume:accept_transfer": _WRITE,
    "volume:delete_transfer": _WRITE,
    "volume:get_all_snapshots": _READ,
    "volume:create_snapshot": _WRITE,
    "volume:get_snapshot": _READ,
    "volume:update_snapshot": _WRITE,
    "volume:delete_snapshot": _WRITE,
    "volume:get_snapshot_metadata": _READ,
    "volume:update_snapshot_metadata": _WRITE,
    "volume:delete_snapshot_metadata": _WRITE,
    "snapshot_extension:snapshot_actions:update_snapshot_status": _WRITE,
    f"{_X}extended_snapshot_attributes": _READ,
    f"{_X}snapshot_admin_actions:reset_status": _ADMIN,
    f"{_X}snapshot_admin_actions:force_delete": _ADMIN,
    **{
        f"{_X}volume_admin_actions:{name}": _ADMIN
        for name in ("reset_status", "force_delete", "force_detach", "migrate_volume", "migrate_volume_completion",
                     "extend_volume_completion")
    },
    **{
        f"{_X}volume_actions:{name}": _WRITE
        for name in ("upload_image", "attach", "detach", "reserve", "unreserve", "begin_detaching", "roll_detaching",
                     "initialize_connection", "terminate_connection")
    },
    f"{_X}volume_actions:upload_public": _ADMIN,
    f"{_X}volume_manage": _ADMIN,
    f"{_X}volume_unmanage": _ADMIN,
    f"{_X}list_manageable": _ADMIN,
    "snapshot_extension:snapshot_manage": _ADMIN,
    "snapshot_extension:snapshot_unmanage": _ADMIN,
    "snapshot_extension:list_manageable": _ADMIN,
    f"{_X}volume_image_metadata:show": _READ,
    f"{_X}volume_image_metadata:set": _WRITE,
    f"{_X}volume_image_metadata:remove": _WRITE,
    f"{_X}volume_tenant_attribute": _READ,
    f"{_X}volume_host_attribute": _ADMIN,
    f"{_X}volume_mig_status_attribute": _ADMIN,
    f"{_X}services:index": _ADMIN,
    f"{_X}services:update": _ADMIN,
    "volume:freeze_host": _ADMIN,
    "volume:thaw_host": _ADMIN,
    "volume:failover_host": _ADMIN,
    f"{_X}hosts": _ADMIN,
    "clusters:get": _ADMIN,
    "clusters:get_all": _ADMIN,
    "clusters:update": _ADMIN,
    "workers:cleanup": _ADMIN,
    f"{_X}volume_encryption_metadata": _READ,
    f"{_X}volume_type_encryption:get": _ADMIN,
    f"{_X}volume_type_encryption:create": _ADMIN,
    f"{_X}volume_type_encryption:update": _ADMIN,
    f"{_X}volume_type_encryption:delete": _ADMIN,
    "scheduler_extension:scheduler_stats:get_pools": _ADMIN,
    f"{_X}capabilities": _ADMIN,
    "backup:get_all": _READ,
    "backup:get": _READ,
    "backup:create": _WRITE,
    "backup:update": _WRITE,
    "backup:delete": _WRITE,
    "backup:restore": _WRITE,
    "backup:backup-import": _ADMIN,
    "backup:export-import": _ADMIN,
    "backup:backup_project_attribute": _ADMIN,
    f"{_X}backup_admin_actions:reset_status": _ADMIN,
    f"{_X}backup_admin_actions:force_delete": _ADMIN,
    "group:get_all": _READ,
    "group:get": _READ,
    "group:create": _WRITE,
    "group:update": _WRITE,
    "group:delete": _WRITE,
    "group:reset_status": _ADMIN,
    "group:enable_replication": _WRITE,
    "group:disable_replication": _WRITE,
    "group:failover_replication": _WRITE,
    "group:list_replication_targets": _WRITE,
    "group:group_project_attribute": _ADMIN,
    "group:get_all_group_snapshots": _READ,
    "group:get_group_snapshot": _READ,
    "group:create_group_snapshot": _WRITE,
    "group:delete_group_snapshot": _WRITE,
    "group:reset_group_snapshot_status": _ADMIN,
    "group:group_snapshot_project_attribute": _ADMIN,
    "group:access_group_types_specs": _ADMIN,
    **{f"group:group_types:{name}": _ADMIN for name in ("create", "update", "delete")},
    **{f"group:group_types_specs:{name}": _ADMIN for name in ("get", "get_all", "create", "update", "delete")},
    "message:get_all": _READ,
    "message:get": _READ,
    "message:delete": _WRITE,
}  # fmt: skip


def allowed(call: Call, rule: str, project_id: str | None = None) -> bool:
    """Whether the caller may, in its own project unless another is named."""
    target: dict[str, Any] = {"project_id": call.caller.project_id if project_id is None else project_id}
    return call.policy.check(call.caller, rule, target)


def require(call: Call, rule: str, project_id: str | None = None) -> None:
    """Raises: Forbidden in Cinder's words."""
    if not allowed(call, rule, project_id):
        raise Forbidden(f"Policy doesn't allow {rule} to be performed.", type="PolicyNotAuthorized")
