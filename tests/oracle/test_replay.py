"""The recorded conversation with the real Neutron 29, played to ours; and that the comparison sees what differs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.installed import LOCK, REQUIREMENTS
from tests.oracle.reasons import RECORDED
from tests.oracle.replay import PAGE, describe, replay
from tests.oracle.sameness import MISSING, Answer, Difference, Twins, differences

THERE, HERE = "8672c856-600b-45ac-9900-558519065b19", "11111111-1111-4111-8111-111111111111"
OTHER_THERE, OTHER_HERE = "2ff7d77f-66b8-4e79-b3a7-5242c028af37", "22222222-2222-4222-8222-222222222222"


def test_what_differs_from_the_recorded_answers_is_what_the_page_says(tmp_path: Path) -> None:
    # To mend: python -m tests.oracle.replay > docs/neutron-differences.md
    count, found = replay(tmp_path)
    assert count == 218
    assert PAGE.read_text() == describe(count, found)
    explained = [any(reason.explains(each.step, each.difference.place) for each in found) for reason in RECORDED]
    assert all(explained), "a reason explains nothing any more"


def test_every_package_of_the_compared_neutron_has_digests() -> None:
    wanted = {line.replace("_", "-").replace(".", "-").lower() for line in REQUIREMENTS.read_text().split()}
    locked = re.findall(r"^(\S+==\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", LOCK.read_text(), re.MULTILINE)
    assert {name.replace(".", "-").lower() for name, digests in locked if digests} == wanted


def test_ids_times_and_chosen_addresses_stand_for_each_other() -> None:
    twins = Twins()
    one = {"port": {"id": THERE, "created_at": "2026-11-20T14:54:21Z", "mac": "fa:16:3e:c5:2e:a8", "ip": "10.0.0.5"}}
    other = {"port": {"id": HERE, "created_at": "2026-11-21T00:00:00Z", "mac": "fa:16:3e:00:00:01", "ip": "10.0.0.2"}}
    assert differences(Answer(200, one), Answer(200, other), twins) == []
    assert twins.here(f"/v2.0/ports/{THERE}?x={THERE}") == f"/v2.0/ports/{HERE}?x={HERE}"
    moved = {"port": {**other["port"], "id": OTHER_HERE}}
    assert differences(Answer(200, one), Answer(200, moved), twins) == [Difference("port.id", THERE, OTHER_HERE)]


def test_an_address_that_was_asked_for_is_no_other() -> None:
    twins = Twins()
    twins.asking({"fixed_ips": [{"ip_address": "10.0.0.5"}]})
    one, other = ({"port": {"fixed_ips": [{"ip_address": address}]}} for address in ("10.0.0.5", "10.0.0.6"))
    (found,) = differences(Answer(200, one), Answer(200, other), twins)
    assert found.place.startswith("port.fixed_ips.*")


@pytest.mark.parametrize(
    ("theirs", "ours", "place"),
    [
        ({"a": 1}, {"a": 2}, "a"),
        ({"a": 1}, {"a": "1"}, "a"),
        ({"a": 1}, {"a": True}, "a"),
        ({"a": 1}, {}, "a"),
        ({}, {"a": None}, "a"),
        ({"a": [1]}, {"a": []}, "a.*"),
        ({"a": "2026-11-20T14:54:21Z"}, {"a": "20.11.2026"}, "a"),
        ({"a": None}, {"a": []}, "a"),
        ({"NeutronError": {"type": "A"}}, {"NeutronError": {"type": "B"}}, "NeutronError.type"),
    ],
)
def test_what_differs_is_found(theirs: Any, ours: Any, place: str) -> None:
    (found,) = differences(Answer(200, theirs), Answer(200, ours), Twins())
    assert found.place == place


def test_the_words_of_a_message_are_each_services_own() -> None:
    one, other = ({"NeutronError": {"type": "A", "message": text, "detail": ""}} for text in ("no", "not so"))
    assert differences(Answer(400, one), Answer(400, other), Twins()) == []
    (found,) = differences(Answer(400, one), Answer(409, other), Twins())
    assert found.told == ('"400 A"', '"409 A"')


def test_lists_are_sets_whose_items_are_known_by_their_ids_unless_an_order_was_asked_for() -> None:
    twins = Twins()
    twins.pair(THERE, HERE)
    twins.pair(OTHER_THERE, OTHER_HERE)
    one = {"ports": [{"id": THERE, "name": "a"}, {"id": OTHER_THERE, "name": "b"}]}
    other = {"ports": [{"id": OTHER_HERE, "name": "b"}, {"id": HERE, "name": "a"}]}
    assert differences(Answer(200, one), Answer(200, other), twins) == []
    (found,) = differences(Answer(200, one), Answer(200, other), twins, ["name"])
    assert found.place == "ports.* order"
    assert differences(Answer(200, one), Answer(200, other), twins, ["network_id", "name"]) == []  # ids are any
    (found,) = differences(Answer(200, one), Answer(200, {"ports": other["ports"][:1]}), twins)
    assert (found.place, found.ours) == ("ports.*", MISSING)


def test_of_items_that_nobody_knew_those_belong_together_that_name_the_same() -> None:
    twins = Twins()
    twins.pair(THERE, HERE)
    twins.pair(OTHER_THERE, OTHER_HERE)
    # What each service drew by chance happens to be the same for the wrong one.
    one = [
        {"id": f"{'a' * 8}{THERE[8:]}", "of": THERE, "tag": 5},
        {"id": f"{'b' * 8}{THERE[8:]}", "of": OTHER_THERE, "tag": 7},
    ]
    other = [
        {"id": f"{'c' * 8}{THERE[8:]}", "of": HERE, "tag": 7},
        {"id": f"{'d' * 8}{THERE[8:]}", "of": OTHER_HERE, "tag": 5},
    ]
    found = differences(Answer(200, {"segments": one}), Answer(200, {"segments": other}), twins)
    assert {each.place for each in found} == {"segments.*.tag"}


def test_a_list_of_nothing_but_ids_tells_nothing_of_which_is_which() -> None:
    twins = Twins()
    theirs, ours = ([{"id": f"{digit * 8}{THERE[8:]}"} for digit in digits] for digits in ("abc", "def"))
    assert differences(Answer(200, {"rules": theirs}), Answer(200, {"rules": ours}), twins) == []
    one = [each | {"name": name} for each, name in zip(theirs, "xyz", strict=True)]
    other = [each | {"name": name} for each, name in zip(ours, "zxy", strict=True)]
    assert differences(Answer(200, {"rules": one}), Answer(200, {"rules": other}), twins) == []
