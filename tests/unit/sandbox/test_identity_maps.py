"""Subordinate ids become a map in which root is the user and every other id follows without a gap."""

from __future__ import annotations

from deuteron.sandbox.namespaces import IdRange, identity_map, subordinate_ranges

SUBUID = """\
# comments are not a format of this file, but people write them
alice:100000:65536
bob:165536:65536
1001:231072:1000
alice:400000:10
broken line
bob:soup:1
"""


def test_ranges_are_found_by_name_and_by_number_in_the_order_of_the_file() -> None:
    assert subordinate_ranges(SUBUID, "alice", 1001) == [(100000, 65536), (231072, 1000), (400000, 10)]


def test_lines_that_mean_nothing_are_passed_over() -> None:
    assert subordinate_ranges(SUBUID, "bob", 1002) == [(165536, 65536)]


def test_a_user_without_ranges_has_none() -> None:
    assert subordinate_ranges(SUBUID, "carol", 1003) == []


def test_root_inside_is_the_user_and_the_rest_follows_without_a_gap() -> None:
    assert identity_map(1001, [(100000, 65536), (400000, 10)]) == [
        IdRange(0, 1001, 1),
        IdRange(1, 100000, 65536),
        IdRange(65537, 400000, 10),
    ]
