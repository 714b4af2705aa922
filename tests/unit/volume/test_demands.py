"""What types demand of back ends, as Cinder's capabilities filter has it."""

from __future__ import annotations

import pytest

from deuteron.rules.volume import demands

FIGURES = {
    "vendor_name": "Deuteron",
    "free_capacity_gb": 100,
    "thin_provisioning_support": True,
    "multiattach": False,
    "nothing": None,
}


@pytest.mark.parametrize(
    ("key", "demand", "is_met"),
    [
        ("vendor_name", "Deuteron", True),
        ("vendor_name", "deuteron", False),
        ("capabilities:vendor_name", "Deuteron", True),
        ("capabilities:vendor_name", "Open Source", False),
        ("filesystem:vendor_name", "of a driver's own", True),
        ("RESKEY:availability_zones", "elsewhere", True),
        ("unknown", "x", False),
        ("capabilities:unknown", "<is> False", False),
        ("thin_provisioning_support", "<is> True", True),
        ("thin_provisioning_support", "True", False),
        ("multiattach", "<is> True", False),
        ("multiattach", "<is> no", True),
        ("free_capacity_gb", "= 50", True),
        ("free_capacity_gb", "= 101", False),
        ("free_capacity_gb", "<= 100", True),
        ("free_capacity_gb", "== 100.0", True),
        ("free_capacity_gb", "!= 100", False),
        ("free_capacity_gb", ">= many", False),
        ("free_capacity_gb", "s>= 1", False),
        ("free_capacity_gb", "<in> 1", False),
        ("free_capacity_gb", ">=", False),
        ("vendor_name", "<in> euter", True),
        ("vendor_name", "s== Deuteron", True),
        ("vendor_name", "s!= Deuteron", False),
        ("vendor_name", "s> Cinder", True),
        ("vendor_name", "<or> IBM <or> Deuteron", True),
        ("vendor_name", "<or> IBM <or> HP", False),
        ("vendor_name", "", False),
        ("vendor_name", None, False),
        ("nothing", None, True),
        ("nothing", "x", False),
    ],
)
def test_a_demand_is_met_as_in_cinder(key: str, demand: str | None, is_met: bool) -> None:
    assert demands.are_met(FIGURES, {key: demand}) is is_met
    assert demands.are_met(FIGURES, {key: demand, "vendor_name": "another"}) is False
