"""What the pages are made with: sources are read or refused, names go both ways, what varies is gone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from deuteron.learn import pictures
from deuteron.learn.names import names_of
from deuteron.learn.source import Block, SourceError, parse
from deuteron.learn.stable import aligned, one_bridge, stable

HEAD = "<!-- cloud: vlan; shows: OV-01 OV-02 -->\n\n# A title\n"
PORT = "cb64ea96-9f12-4a11-8b6f-0d1a2b3c4d5e"
SERVER = "0f9f2f60-1111-4222-8333-444455556666"
NETWORK = "5f833617-6179-4797-b7c0-7d420d84040c"
ROWS: dict[str, list[dict[str, Any]]] = {
    "project": [{"id": "a" * 32, "name": "demo"}, {"id": "b" * 32, "name": "other"}],
    "network": [
        {"id": NETWORK, "name": "net1", "project_id": "a" * 32, "router:external": False,
         "provider:network_type": "vlan", "provider:segmentation_id": 1000, "provider:physical_network": "p"},
    ],
    "subnet": [{"id": "1" * 8, "name": "s", "network_id": NETWORK, "cidr": "10.10.10.0/24", "project_id": "a" * 32}],
    "router": [],
    "security_group": [{"id": each * 8, "name": "default", "project_id": each * 32} for each in "ab"],
    "floatingip": [],
    "server": [{"id": SERVER, "name": "<b>&vm1", "project_id": "a" * 32}],
    "port": [
        {"id": PORT, "device_owner": "compute:nova", "device_id": SERVER, "network_id": NETWORK,
         "mac_address": "fa:16:3e:1d:5c:81", "fixed_ips": [{"ip_address": "10.10.10.2"}]},
    ],
}  # fmt: skip


def test_a_source_is_prose_and_blocks_in_their_order() -> None:
    text = HEAD + '\nWords.\n\n```on compute "keep=a b" sorted\nfirst \\\n  line\nsecond\n```\n\n```sh\nno block\n```\n'
    chapter = parse("01-x", text)
    assert (chapter.title, chapter.cloud, chapter.shows) == ("A title", "vlan", ("OV-01", "OV-02"))
    block = Block("on", ("compute",), ("first line", "second"), frozenset({"sorted"}), keep="a b")
    assert chapter.parts == ("# A title\n\nWords.", block, "```sh\nno block\n```")


@pytest.mark.parametrize(
    "text",
    [
        "# No head\n",
        HEAD + "```on compute\nnever closed\n",
        HEAD + "```on compute wrong=1\nx\n```\n",
        HEAD + '```on "\n```\n',
    ],
    ids=["no head", "not closed", "no such option", "a quote too few"],
)  # fmt: skip
def test_a_source_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="01-x"):
        parse("01-x", text)


def test_what_a_command_prints_is_told_in_names_that_commands_may_use() -> None:
    names = names_of(ROWS)
    printed = (
        f"{SERVER} {PORT} tap{PORT[:11]} neutron-openvswi-i{PORT[:10]} fe80::f816:3eff:fe1d:5c81/64 fa:16:3e:1d:5c:81"
    )
    told = names.stable(printed)
    label = "<b>&vm1"
    assert told == (
        f"<id of {label}> <port of {label}> tap<{label}> neutron-openvswi-i<{label}-> "
        f"fe80::<EUI-64 of {label}>/64 <MAC of {label}>"
    )
    assert names.real("ip netns exec qdhcp-<id of net1> cat </dev/null <nothing>") == (
        f"ip netns exec qdhcp-{NETWORK} cat </dev/null <nothing>"
    )


def test_of_two_objects_with_one_name_each_is_named_with_its_project() -> None:
    assert {"<id of demo/default>", "<id of other/default>"} <= names_of(ROWS).meaning.keys()


FLOWS = """\
NXST_FLOW reply (xid=0x{xid}):
 cookie=0x{xid}, duration=7.5s, table=0, n_packets={n}, n_bytes={n}, idle_age={n}, priority=1 actions=NORMAL
 cookie=0x{xid}, duration=7.5s, table=0, n_packets={n}, n_bytes={n}, idle_age={n}, hard_age=9, priority=3 actions=drop
"""


def test_flows_are_the_same_whenever_they_are_looked_at() -> None:
    first, again = (stable(FLOWS.format(xid=xid, n=n)) for xid, n in (("4", 1), ("8f", 777)))
    assert first == again
    assert re.findall(r"priority=\d", first) == ["priority=3", "priority=1"]


SHOWN = """\
8a069c7c-ea05-4375-93e2-b9fc9e4b3ca1
    Bridge {0}
        Port {2}
            Interface {2}
        Port {3}
            tag: 1
    Bridge {1}
        Port x
    ovs_version: "1.11.0"
"""


def test_bridges_and_ports_are_sorted_and_one_can_be_taken_out() -> None:
    text = stable(SHOWN.format("br-int", "br-ex", "p2", "p1"))
    assert text.splitlines()[0] == "<uuid>" and text.splitlines()[-1] == '    ovs_version: "<version>"'
    assert [line.split()[1] for line in text.splitlines() if "Bridge" in line or "Port" in line] == [
        "br-ex", "x", "br-int", "p1", "p2",
    ]  # fmt: skip
    assert one_bridge(text.splitlines(), "br-ex") == ["    Bridge br-ex", "        Port x"]


def test_a_table_is_as_wide_as_its_names() -> None:
    lines = ["before", "+------+----+", "| a    | b  |", "+------+----+", "| <id> | cd |", "+------+----+"]
    wide = [
        line.replace("| a    |", "| a                 |").replace("------+", "-------------------+", 1)
        for line in lines
    ]
    assert aligned(wide) == lines


def test_a_topology_shows_networks_and_servers_and_escapes_their_names() -> None:
    drawn = pictures.topology("t", ROWS, "a" * 32)
    assert "VLAN 1000" in drawn and "10.10.10.2" in drawn and "server &lt;b&gt;&amp;vm1" in drawn
    assert "<b>" not in drawn
    assert "VLAN" not in pictures.topology("t", ROWS, "b" * 32), "of another project"


def test_devices_show_the_chain_of_a_server_and_the_way_out() -> None:
    switches = """\
    Bridge br-int
        Port qvo<vm1>
            tag: 3
        Port int-br-eth2
            Interface int-br-eth2
                type: patch
                options: {peer=phy-br-eth2}
        Port tap<dhcp net1>
            tag: 1
    Bridge br-eth2
        Port eth2
        Port phy-br-eth2
                options: {peer=int-br-eth2}
"""
    links = "4: tap<vm1>: <UP>\n5: qbr<vm1>: <UP>\n6: qvb<vm1>@qvo<vm1>: <UP>\n"
    drawn = pictures.devices("t", pictures.Looked(switches, links, "qdhcp-<id of net1>\ttap<dhcp net1>\n"))
    words = re.findall(r">([^<>]+)</text>", drawn)
    assert words[:10] == [
        "t", "server vm1", "tap&lt;vm1&gt;", "qbr&lt;vm1&gt;", "qvb&lt;vm1&gt;", "qvo&lt;vm1&gt;", "tag 3",
        "qdhcp-&lt;id of net1&gt;", "tap&lt;dhcp net1&gt;", "tag 1",
    ]  # fmt: skip
    assert words[10:] == ["br-int", "int-br-eth2", "phy-br-eth2", "br-eth2", "eth2"]


def test_addresses_of_a_device_stand_in_one_order_however_they_came() -> None:
    lft = "       valid_lft forever preferred_lft forever\n"
    near, far = "    inet 169.254.169.254/32 scope link tap\n", "    inet 10.0.0.3/24 scope global tap\n"
    six = "    inet6 fe80::1/64 scope link\n"
    first = stable(f"2: tap: <UP>\n    link/ether x\n{far}{lft}{near}{lft}{six}{lft}")
    assert first == stable(f"2: tap: <UP>\n    link/ether x\n{six}{lft}{near}{lft}{far}{lft}")
    assert first.index("169.254") < first.index("10.0.0.3") < first.index("fe80") and first.count("valid_lft") == 3
