"""What the host `outside` makes of the external networks it is told of."""

from __future__ import annotations

from deuteron.model.outside import ExternalNetwork
from deuteron.sandbox.outside import commands, devices

INTERFACES = {"default": "eth2", "physnetext": "eth3"}
FLAT = ExternalNetwork("physnetext", None, ("172.24.4.1/24",))
TAGGED = ExternalNetwork("default", 1002, ("180.180.180.1/24", "fd00:180::1/64"))
ADDED = [
    "address add 180.180.180.1/24 dev eth2.1002",
    "address add fd00:180::1/64 dev eth2.1002 nodad",
    "link set eth2.1002 up",
]
PRESENT = {"eth2": frozenset[str](), "eth3": frozenset({"172.24.4.1/24"})}


def test_a_vlan_gets_a_device_with_its_gateways_addresses() -> None:
    wanted = devices([FLAT, TAGGED], INTERFACES)
    assert commands(wanted, PRESENT, set()) == ADDED
    after = {**PRESENT, "eth2.1002": frozenset(TAGGED.gateways)}
    assert commands(wanted, after, set()) == ["link set eth2.1002 up"]


def test_another_gateway_replaces_the_one_that_was() -> None:
    wanted = devices([ExternalNetwork("default", 1002, ("180.180.180.9/24",))], INTERFACES)
    present = {**PRESENT, "eth2.1002": frozenset({"180.180.180.1/24"})}
    assert commands(wanted, present, set()) == [
        "address del 180.180.180.1/24 dev eth2.1002",
        "address add 180.180.180.9/24 dev eth2.1002",
        "link set eth2.1002 up",
    ]


def test_on_an_interface_itself_only_what_was_added_is_taken_away() -> None:
    wanted = devices([ExternalNetwork("physnetext", None, ("203.0.113.1/24",))], INTERFACES)
    assert commands(wanted, PRESENT, set()) == ["address add 203.0.113.1/24 dev eth3"]
    present = {"eth3": frozenset({"172.24.4.1/24", "203.0.113.1/24"})}
    assert commands({}, present, {"203.0.113.1/24 dev eth3"}) == ["address del 203.0.113.1/24 dev eth3"]


def test_names_fit_the_kernel_and_what_is_not_connected_is_left_out() -> None:
    interfaces = {"default": "averylongone", "physnetext": "averylongtwo"}
    networks = [ExternalNetwork(name, 1002) for name in ("default", "physnetext", "elsewhere")]
    assert sorted(devices(networks, interfaces)) == ["vlan1002-0", "vlan1002-1"]
