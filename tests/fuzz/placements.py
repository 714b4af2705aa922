"""Good bodies of the routes of Placement; see `bodies` for `$unique` and `$uuid`."""

from __future__ import annotations

from typing import Any

_P = "/placement"
_ONE = _P + "/resource_providers/{id}"
_STOCK = {
    "total": 10, "reserved": 1, "min_unit": 1, "max_unit": 5, "step_size": 1, "allocation_ratio": 1.5,
}  # fmt: skip
_AT = {"resource_provider_generation": 0}
_TAKEN = {
    "allocations": {"$uuid": {"resources": {"VCPU": 1, "DISK_GB": 2}, "generation": 1}},
    "project_id": "$project",
    "user_id": "$user",
    "consumer_generation": None,
    "consumer_type": "INSTANCE",
    "mappings": {"_1": ["$uuid"]},
}

_CANDIDATES = (
    "resources=VCPU:1,MEMORY_MB:512,DISK_GB:1&required=!COMPUTE_STATUS_DISABLED&limit=3",
    "resources=VCPU:1&resources_A=DISK_GB:1&required_A=in:COMPUTE_NODE,HW_CPU_X86_AVX2&group_policy=none",
    "resources1=VCPU:1&resources2=VCPU:1&group_policy=isolate&in_tree1=0d9a6b3e-6a43-4cf1-a6c6-3d8d5a4c6e01",
    "resources_A=VCPU:1&required_B=COMPUTE_NODE&same_subtree=_A,_B&group_policy=none&root_required=COMPUTE_NODE",
    "resources=VCPU:1&member_of=in:0d9a6b3e-6a43-4cf1-a6c6-3d8d5a4c6e01,7f1a7d2e-1d0b-4b13-8c0f-0a8f6f1a2b02",
)
QUERIES: dict[str, tuple[str, ...]] = {
    _P + "/allocation_candidates": _CANDIDATES,
    _P + "/resource_providers": ("resources=VCPU:1&required=COMPUTE_NODE", "name=x&in_tree=x&member_of=x"),
}
"""Good queries of what is read by them."""

BODIES: dict[tuple[str, str], list[Any]] = {
    ("POST", _P + "/resource_providers"): [
        {"name": "$unique", "uuid": "$uuid"},
        {"name": "$unique", "parent_provider_uuid": "$uuid"},
    ],
    ("PUT", _ONE): [{"name": "$unique", "parent_provider_uuid": None}],
    ("POST", _ONE + "/inventories"): [{"resource_class": "VCPU", **_STOCK}],
    ("PUT", _ONE + "/inventories"): [{**_AT, "inventories": {"VCPU": _STOCK}}],
    ("PUT", _ONE + "/inventories/{resource_class}"): [{**_AT, **_STOCK}],
    ("PUT", _ONE + "/aggregates"): [{**_AT, "aggregates": ["$uuid"]}, ["$uuid"]],
    ("PUT", _ONE + "/traits"): [{**_AT, "traits": ["HW_CPU_X86_AVX2"]}],
    ("POST", _P + "/resource_classes"): [{"name": "CUSTOM_MAGIC"}],
    ("PUT", _P + "/resource_classes/{name}"): [{"name": "CUSTOM_MAGIC"}],
    ("PUT", _P + "/traits/{name}"): [{}],
    ("POST", _P + "/allocations"): [{"$uuid": _TAKEN}],
    ("PUT", _P + "/allocations/{id}"): [_TAKEN],
    ("POST", _P + "/reshaper"): [
        {"inventories": {"$uuid": {**_AT, "inventories": {"VCPU": _STOCK}}}, "allocations": {"$uuid": _TAKEN}}
    ],
}
