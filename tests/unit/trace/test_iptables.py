"""Rules in the words of iptables-save, walked as the kernel walks them."""

from __future__ import annotations

import pytest

from deuteron.net.rows import IptablesChain, IptablesTable
from deuteron.trace.iptables import Passing, Tables
from deuteron.trace.packet import ICMP, TCP, Packet
from deuteron.trace.tracking import begun
from deuteron.trace.unknown import Unknown

SYN = Packet("ip", "fa:16:3e:00:00:01", "fa:16:3e:00:00:02", "10.0.0.1", "10.0.0.2", TCP, 40000, 22)


def tables(*rules: str, **chains: tuple[str, ...]) -> Tables:
    """`rules` in FORWARD of the table filter, and chains of our own."""
    made = tuple(IptablesChain(name, lines) for name, lines in chains.items())
    return Tables({"filter": IptablesTable("ns", 4, "filter", made, tuple(("FORWARD", rule) for rule in rules))})


def verdict(it: Tables, **facts: object) -> str:
    return it.ask("filter", "FORWARD", Passing(**{"packet": SYN, **facts}))[0].verdict  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        ("-s 10.0.0.0/24", True),
        ("! -s 10.0.0.0/24", False),
        ("-p tcp -m tcp --dport 20:22", True),
        ("-p udp -m udp --dport 22", False),
        ("-i qr-+", True),
        ("! -o qg-1", True),
        ("-m physdev --physdev-in tap1 --physdev-is-bridged", False),
        ("-m mac --mac-source fa:16:3e:00:00:01", True),
        ("-m state --state RELATED,ESTABLISHED", False),
        ("-m conntrack ! --ctstate DNAT", True),
        ("-m mark --mark 0x2/0xffff", True),
        ("-m mark ! --mark 0x4000000/0xffff0000", True),
        ("-m connmark --mark 0x0/0xffff0000", True),
        ("-m set --match-set NIPv4g src", True),
        ("-m set --match-set NIPv4g dst", False),
    ],
)
def test_a_match_holds_as_the_kernel_says(match: str, holds: bool) -> None:
    facts = {
        "packet": SYN.but(mark=2), "in_device": "qr-1", "connection": begun(SYN), "sets": {"NIPv4g": ("10.0.0.1",)},
    }  # fmt: skip
    assert verdict(tables(f"{match} -j DROP"), **facts) == ("DROP" if holds else "ACCEPT")


def test_return_goes_on_after_the_jump() -> None:
    it = tables("-j sg", "-j DROP", sg=("-j port", "-j ACCEPT"), port=("-p tcp -j RETURN", "-j DROP"))
    assert verdict(it) == "ACCEPT"
    assert verdict(it, packet=SYN.but(protocol=ICMP)) == "DROP"


def test_a_chain_that_ends_goes_on_after_the_jump() -> None:
    assert verdict(tables("-j empty", "-j DROP", empty=())) == "DROP"


def test_marks_are_set_within_their_mask_and_kept_with_the_connection() -> None:
    passing = Passing(SYN.but(mark=0x2), connection=begun(SYN))
    it = tables(
        "-j MARK --set-xmark 0x4010000/0xffff0000",
        "-m connmark --mark 0x0/0xffff0000 -j CONNMARK --save-mark --nfmask 0xffff0000 --ctmask 0xffff0000",
    )
    it.ask("filter", "FORWARD", passing)
    assert passing.packet.mark == 0x4010002
    assert passing.connection is not None and passing.connection.mark == 0x4010000


@pytest.mark.parametrize(
    "rule", ["-m ttl --ttl-eq 1 -j DROP", "--tos 4 -j DROP", "-j TTL", "-m state --state SNATED -j DROP"]
)
def test_what_is_not_known_is_an_error(rule: str) -> None:
    with pytest.raises(Unknown):
        verdict(tables(rule))
