"""The image service's default policy, with Glance's rule names.

Source: glance 33.0.0, glance/policies/{base,image,metadef,tasks}.py; tests/unit/personas/ compares each rule with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call
from deuteron.model.caller import Caller
from deuteron.model.errors import Forbidden
from deuteron.model.image_rows import ImageRow

_MEMBER = "role:admin or (role:member and project_id:%(project_id)s)"
_READABLE = (
    "(project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s "
    "or 'public':%(visibility)s or 'shared':%(visibility)s)"
)

POLICIES: Mapping[str, str] = {
    "add_image": "role:admin or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
    "delete_image": _MEMBER,
    "get_image": f"role:admin or (role:reader and {_READABLE})",
    "get_images": "role:admin or (role:reader and project_id:%(project_id)s)",
    "modify_image": _MEMBER,
    "publicize_image": "role:admin",
    "communitize_image": _MEMBER,
    "download_image": f"role:admin or (role:member and {_READABLE})",
    "download_from_store": f"role:admin or (role:member and {_READABLE})",
    "upload_image": _MEMBER,
    "copy_image": "role:admin",
    "get_image_location": "role:admin or (role:reader and project_id:%(project_id)s)",
    "delete_image_location": "role:admin",
    "deactivate": _MEMBER,
    "reactivate": _MEMBER,
    "add_member": _MEMBER,
    "delete_member": _MEMBER,
    "get_member": "role:admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)",
    "get_members": "role:admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)",
    "modify_member": "role:admin or (role:member and project_id:%(member_id)s)",
    "tasks_api_access": "role:admin",
    "stores_info_detail": "role:admin or role:service",
    "metadef_admin": "role:admin",
    "get_metadef_namespaces": "role:admin or (role:reader and project_id:%(project_id)s)",
    **dict.fromkeys(
        (
            "get_metadef_namespace", "get_metadef_object", "get_metadef_objects", "list_metadef_resource_types",
            "get_metadef_resource_type", "get_metadef_property", "get_metadef_properties", "get_metadef_tag",
            "get_metadef_tags",
        ),
        "role:admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    **dict.fromkeys(
        (
            "add_metadef_namespace", "modify_metadef_namespace", "delete_metadef_namespace", "add_metadef_object",
            "modify_metadef_object", "delete_metadef_object", "add_metadef_resource_type_association",
            "remove_metadef_resource_type_association", "add_metadef_property", "modify_metadef_property",
            "remove_metadef_property", "add_metadef_tag", "add_metadef_tags", "modify_metadef_tag",
            "delete_metadef_tag", "delete_metadef_tags",
        ),
        "rule:metadef_admin",
    ),
}  # fmt: skip


def require(call: Call, rule: str, target: Mapping[str, Any]) -> None:
    """Raises: Forbidden in Glance's words unless the rule lets the caller."""
    if not call.policy.check(call.caller, rule, target):
        raise Forbidden(f"You are not authorized to complete {rule} action.", type="Forbidden")


def target(caller: Caller, row: ImageRow) -> dict[str, Any]:
    """What policy rules about an image may ask of. A member of a shared image is the caller, once it is seen."""
    is_member = row["visibility"] == "shared" and row["owner"] != caller.project_id
    return {
        "project_id": row["owner"],
        "owner": row["owner"],
        "visibility": row["visibility"] if row["visibility"] != "shared" or is_member else "private",
        "member_id": caller.project_id if is_member else None,
        "image_id": row["id"],
    }
