"""Other programs take what is planned for them: iptables and ipset in an own namespace, dnsmasq with `--test`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from plancloud import PEERS, group, hybrid, planned, rule, uid, whole_cloud
from tests import needs

from deuteron.model.intent import IntentSecurityGroup
from deuteron.net.rows import HostPlan, IptablesTable

IN_OWN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")


def rules_of_every_shape() -> list[object]:
    tcp_range = rule("1", protocol=6, port_range_min=100, port_range_max=200)
    return [
        tcp_range,
        rule("2", protocol=1),
        rule("3", protocol=1, port_range_min=3),
        rule("4", protocol=1, port_range_min=8, port_range_max=0),
        rule("5", ethertype="IPv6", protocol=58, port_range_min=128, port_range_max=0),
        rule("6", ethertype="IPv6", protocol=17, port_range_min=5, port_range_max=5, remote_ip_prefix="fd00::/8"),
        rule("7", protocol=132, port_range_min=5, port_range_max=9),
        rule("8", protocol=6, remote_ip_prefix="0.0.0.0/0"),
        rule("9", "egress", protocol=6, port_range_min=5, port_range_max=9, remote_group_id=uid("g")),
        rule("a", "egress", remote_ip_prefix="192.0.2.7/32"),
    ]


def plan_for_programs() -> HostPlan:
    cloud = [item for item in whole_cloud() if not isinstance(item, IntentSecurityGroup)]
    groups = [group("g", rule("b", remote_group_id=uid("g"))), group("h", *rules_of_every_shape())]  # type: ignore[arg-type]
    return planned(*cloud, *groups, settings=hybrid(), peers=PEERS)


def restore_text(table: IptablesTable) -> str:
    lines = [f"*{table.table}", *(f":{chain.name} - [0:0]" for chain in table.chains)]
    lines += [f"-A {chain} {rule}" for chain, rule in table.builtin]
    lines += [f"-A {chain.name} {rule}" for chain in table.chains for rule in chain.rules]
    return "\n".join([*lines, "COMMIT", ""])


def in_own_namespace(script: str, stdin: str) -> str:
    needs.program("iptables-save", "ipset", "unshare")
    if subprocess.run([*IN_OWN_NAMESPACE, "true"], capture_output=True, check=False).returncode != 0:
        needs.lacking("user namespaces are not allowed here")
    done = subprocess.run(
        [*IN_OWN_NAMESPACE, "sh", "-euc", script], input=stdin, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", ["filter", "mangle", "nat", "raw"])
def test_iptables_prints_every_rule_exactly_as_planned(name: str, family: int) -> None:
    plan_ = plan_for_programs()
    sets = "".join(f"ipset create {row.name} {row.type};" for row in plan_.ipsets)
    command = "iptables" if family == 4 else "ip6tables"
    tables = [row for row in plan_.iptables if (row.table, row.family) == (name, family)]
    assert tables
    for table in tables:
        text = restore_text(table)
        printed = in_own_namespace(f"{sets} {command}-restore; {command}-save -t {name}", text)
        wanted = [line for line in text.splitlines() if line.startswith("-A")]
        assert sorted(line for line in printed.splitlines() if line.startswith("-A")) == sorted(wanted)


def test_ipset_prints_every_member_exactly_as_planned() -> None:
    sets = plan_for_programs().ipsets
    assert any(row.members for row in sets)
    for row in sets:
        add = "".join(f"ipset add {row.name} {member};" for member in row.members)
        printed = in_own_namespace(f"ipset create {row.name} {row.type}; {add} ipset save {row.name}", "")
        assert sorted(line.split()[2] for line in printed.splitlines() if line.startswith("add")) == sorted(row.members)


def test_dnsmasq_accepts_its_arguments_and_files(tmp_path: Path) -> None:
    needs.program("dnsmasq")
    daemons = plan_for_programs().dnsmasqs
    assert len(daemons) == 2
    for row in daemons:
        for name, text in row.files:
            (tmp_path / name).write_text(text)
        arguments = [argument.replace(row.directory, str(tmp_path)) for argument in row.arguments]
        done = subprocess.run([*arguments, "--test"], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
