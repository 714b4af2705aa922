"""JSON schemas of images and members, as clients read them: made from the declaration."""

from __future__ import annotations

from typing import Any

from deuteron.model.image import IMAGE, MEMBER_STATUSES, TASK

_LINKS = [
    {"rel": "self", "href": "{self}"},
    {"rel": "enclosure", "href": "{file}"},
    {"rel": "describedby", "href": "{schema}"},
]


def image_schema() -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for attribute in IMAGE.attributes:
        entry = {**attribute.codec.schema(), "description": attribute.description}
        if not attribute.create and not attribute.update:
            entry["readOnly"] = True
        properties[attribute.name] = entry
    for name, text in (
        ("self", "An image self url"),
        ("file", "An image file url"),
        ("schema", "An image schema url"),
        ("stores", "Stores that have the image's data, by commas; only where the operator set stores."),
    ):
        properties[name] = {"type": "string", "readOnly": True, "description": text}
    for name, text in (
        (
            "kernel_id",
            "ID of image stored in Glance that should be used as the kernel when booting an AMI-style image.",
        ),
        (
            "ramdisk_id",
            "ID of image stored in Glance that should be used as the ramdisk when booting an AMI-style image.",
        ),
    ):
        properties[name] = {"type": ["null", "string"], "is_base": False, "description": text}
    for name in ("architecture", "instance_uuid", "os_distro", "os_version"):
        properties[name] = {"type": "string", "is_base": False, "description": f"The image's {name.replace('_', ' ')}"}
    return {"name": "image", "properties": properties, "additionalProperties": {"type": "string"}, "links": _LINKS}


def member_schema() -> dict[str, Any]:
    return {
        "name": "member",
        "properties": {
            "member_id": {"type": "string", "description": "An identifier for the image member (project)"},
            "image_id": {"type": "string", "description": "An identifier for the image"},
            "created_at": {"type": "string", "description": "Date and time of image member creation"},
            "updated_at": {"type": "string", "description": "Date and time of last modification of image member"},
            "status": {
                "type": "string",
                "enum": list(MEMBER_STATUSES),
                "description": "The status of this image member",
            },
            "schema": {"type": "string", "readOnly": True},
        },
    }


def task_schema(but: tuple[str, ...] = ()) -> dict[str, Any]:
    """Without the attributes `but`, which a list does not show."""
    properties: dict[str, Any] = {
        attribute.name: {**attribute.codec.schema(), "description": attribute.description}
        for attribute in TASK.attributes
        if attribute.name not in but
    }
    for name in ("self", "schema"):
        properties[name] = {"type": "string", "readOnly": True}
    return {"name": "task", "properties": properties}


def collection_schema(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {
            name: {"type": "array", "items": item},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }
