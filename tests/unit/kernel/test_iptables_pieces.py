"""Large tables in small transactions: the end is the same, and no moment in between opens what both ends close."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from deuteron.net.kernel.iptables import _PIECE_LINES, explained, piecewise
from deuteron.net.rows import IptablesChain, IptablesTable

State = dict[str, list[str]]


def table(state: State) -> IptablesTable:
    chains = tuple(IptablesChain(name, tuple(rules)) for name, rules in state.items() if name != "FORWARD")
    builtin = tuple(("FORWARD", rule) for rule in state["FORWARD"])
    return IptablesTable(namespace="", family=4, table="filter", chains=chains, builtin=builtin)


def states(before: State, lines: list[str]) -> list[State]:
    """What the kernel has after each transaction, as iptables(8) describes the commands."""
    now = {name: list(rules) for name, rules in before.items()}
    seen = []
    for line in lines:
        words = line.split()
        if line.startswith(":"):
            now[words[0][1:]] = []
        elif words[0] == "-A":
            now[words[1]].append(" ".join(words[2:]))
        elif words[0] == "-I":
            assert 1 <= int(words[2]) <= len(now[words[1]]) + 1
            now[words[1]].insert(int(words[2]) - 1, " ".join(words[3:]))
        elif words[0] == "-D" and words[2].isdigit():
            del now[words[1]][int(words[2]) - 1]
        elif words[0] == "-D":
            now[words[1]].remove(" ".join(words[2:]))
        elif words[0] == "-X":
            assert now.pop(words[1]) == [], "only an empty chain can go"
        elif line == "COMMIT":
            seen.append({name: list(rules) for name, rules in now.items()})
        for rules in now.values():
            assert {rule.split()[-1] for rule in rules if "-j neutron-" in rule} <= set(now), "a jump to no chain"
    return seen


def ports(numbers: list[int], extra: int = 0) -> State:
    """A dispatch chain with a jump for each port, and a chain of rules for each that ends in a drop."""
    state: State = {"FORWARD": ["-j neutron-dispatch"] if numbers else []}
    if numbers:
        state["neutron-dispatch"] = [f"-m physdev --physdev-out tap{n} -j neutron-p{n}" for n in numbers]
    for n in numbers:
        accepts = [f"-s 10.0.0.{i} -j RETURN" for i in range(extra + n % 3)]
        state[f"neutron-p{n}"] = [*accepts, "-j DROP"]
    return state


def lines_of(before: State, after: State) -> list[str]:
    return piecewise("filter", table(after), table(before))


NUMBERS = st.lists(st.integers(0, 400), unique=True, max_size=250)
FEW, MANY = list(range(30)), list(range(300))


@settings(deadline=None)
@given(NUMBERS, NUMBERS, st.integers(0, 3))
@example([], MANY, 1)
@example(MANY, [], 1)
@example(FEW, MANY, 0)
@example(MANY, FEW, 2)
@example(MANY, MANY[::-1], 1)
@example(MANY, [*MANY[150:], *MANY[:150], 400], 0)
@example(MANY[::2], MANY[::3], 0)
def test_any_table_becomes_any_other_in_small_steps_none_of_which_opens_a_port(
    first: list[int], second: list[int], extra: int
) -> None:
    before, after = ports(first), ports(second, extra)
    lines = lines_of(before, after)

    steps = states(before, lines)

    assert (steps[-1] if steps else before) == after
    pieces = "\n".join(lines).split("COMMIT")
    assert all(piece.count("\n") <= _PIECE_LINES + 3 for piece in pieces)
    both = set(first) & set(second)
    for step in steps:
        if step["FORWARD"]:
            jumped = {rule.split()[-1] for rule in step.get("neutron-dispatch", [])}
            assert {f"neutron-p{n}" for n in both} <= jumped, "a port without its rules"
            assert all(step[name][-1:] == ["-j DROP"] for name in jumped if int(name[9:]) in set(second)), (
                "an open port"
            )


def test_what_is_equal_needs_no_transaction() -> None:
    assert lines_of(ports([1, 2]), ports([1, 2])) == []
    assert piecewise("filter", None, None) == []


def test_a_complaint_says_which_line_it_is_about() -> None:
    lines = ["*raw", ":neutron-x - [0:0]", "-A neutron-x -p udp -m udp --dport 69 -j CT --helper tftp", "COMMIT"]
    said = explained("it failed: \nline 3: RULE_APPEND failed", lines)
    assert said == f'this kernel has no conntrack helper "tftp" for "{lines[2]}": it failed: line 3: RULE_APPEND failed'
    assert explained("line 2 failed", lines) == f'line 2 failed: "{lines[1]}"'
    assert (explained("line 9 failed", lines), explained("it failed", lines)) == ("line 9 failed", "it failed")
