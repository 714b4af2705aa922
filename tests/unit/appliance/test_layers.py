"""The data of LUNs: any writes, discards, snapshots, clones and deletions, against plain bytes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from deuteron.appliance import document as documents
from deuteron.appliance.document import Document
from deuteron.appliance.faults import Fault
from deuteron.appliance.layers import CLUSTER, NoSpace
from deuteron.appliance.objects import Appliance

SIZE = 32 * CLUSTER


def opened(folder: Path, pool_bytes: int = 1 << 30) -> Appliance:
    document = documents.load(folder / "appliance.json") or Document(asn="x", pools=["p"])
    appliance = Appliance(folder, document, pool_bytes, "zfs")
    if not document.projects:
        appliance.create_project("p", {"name": "t"})
    return appliance


def disk(appliance: Appliance, name: str) -> Any:
    return appliance.storage.disks[next(each.id for each in appliance.document.luns if each.name == name)]


def the_room_is_what_the_layers_take(appliance: Appliance) -> bool:
    layers = set(appliance.document.layers)
    used = sum(appliance.storage.layer(each).clusters for each in layers) * CLUSTER
    room = appliance.storage.rooms["p"]
    reserved = sum(appliance.storage.unwritten(lun) for lun in appliance.document.luns)
    return (room.used_bytes, room.reserved_bytes) == (used, reserved)


@pytest.mark.parametrize("seed", range(12))
def test_luns_hold_what_was_written_whatever_else_happens(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    appliance = opened(tmp_path)
    luns: dict[str, bytearray] = {"one": bytearray(SIZE)}
    snapshots: dict[tuple[str, str], bytes] = {}
    appliance.create_lun("p", "t", {"name": "one", "volsize": SIZE, "sparse": bool(seed % 2)})
    for step in range(120):
        name = draw.choice(list(luns))
        what = draw.randrange(12)
        at = draw.randrange(SIZE // 512) * 512
        length = min(draw.randrange(1, 6 * CLUSTER // 512) * 512, SIZE - at)
        if what < 4:
            data = draw.randbytes(length)
            disk(appliance, name).write(at, data)
            luns[name][at : at + length] = data
        elif what < 6:
            disk(appliance, name).discard(at, length)
            luns[name][at : at + length] = bytes(length)
        elif what == 6:
            appliance.create_snapshot("p", "t", name, {"name": f"s{step}"})
            snapshots[name, f"s{step}"] = bytes(luns[name])
        elif what in (7, 8) and snapshots:
            (source, snapshot), held = draw.choice(list(snapshots.items()))
            appliance.clone("p", "t", source, snapshot, {"share": f"c{step}"})
            luns[f"c{step}"] = bytearray(held)
        elif what == 9 and snapshots:
            source, snapshot = draw.choice(list(snapshots))
            if not appliance.snapshot("p", "t", source, snapshot)["snapshot"]["numclones"]:  # type: ignore[index]  # shown
                appliance.delete_snapshot("p", "t", source, snapshot)
                del snapshots[source, snapshot]
        elif what == 10 and len(luns) > 1 and not any(source == name for source, _ in snapshots):
            appliance.delete_lun("p", "t", name)
            del luns[name]
        elif what == 11:
            appliance = opened(tmp_path)
        assert the_room_is_what_the_layers_take(appliance), (step, what)
    for again in (appliance, opened(tmp_path)):
        assert {name: disk(again, name).read(0, SIZE) == bytes(held) for name, held in luns.items()} == dict.fromkeys(
            luns, True
        )
        files = {path.stem for path in (tmp_path / "pool-p").iterdir()}
        assert files == set(again.document.layers), "nothing is left of what was deleted"


def test_snapshots_that_come_and_go_leave_no_chain(tmp_path: Path) -> None:
    appliance = opened(tmp_path)
    appliance.create_lun("p", "t", {"name": "one", "volsize": SIZE, "sparse": True})
    for number in range(20):
        disk(appliance, "one").write(number * CLUSTER, b"x" * CLUSTER)
        appliance.create_snapshot("p", "t", "one", {"name": "s"})
        appliance.delete_snapshot("p", "t", "one", "s")
    assert len(appliance.document.layers) == 1
    assert disk(appliance, "one").read(0, 20 * CLUSTER) == b"x" * 20 * CLUSTER


def test_a_full_pool_takes_no_more_and_gives_room_back(tmp_path: Path) -> None:
    appliance = opened(tmp_path, 8 * CLUSTER)
    appliance.create_lun("p", "t", {"name": "thick", "volsize": 4 * CLUSTER, "sparse": False})
    appliance.create_lun("p", "t", {"name": "thin", "volsize": SIZE, "sparse": True})
    disk(appliance, "thin").write(0, b"x" * 3 * CLUSTER)
    with pytest.raises(NoSpace):
        disk(appliance, "thin").write(8 * CLUSTER, b"x" * 2 * CLUSTER)
    with pytest.raises(Fault, match="out of space"):
        appliance.create_lun("p", "t", {"name": "more", "volsize": 2 * CLUSTER, "sparse": False})
    disk(appliance, "thick").write(0, b"y" * 4 * CLUSTER)
    with pytest.raises(Fault, match="out of space"):
        appliance.create_snapshot("p", "t", "thick", {"name": "s"})
    assert the_room_is_what_the_layers_take(appliance)
    disk(appliance, "thin").discard(0, 3 * CLUSTER)
    appliance.delete_lun("p", "t", "thick")
    assert appliance.storage.rooms["p"].available_bytes == 8 * CLUSTER


def test_a_lun_that_is_used_is_not_taken_away(tmp_path: Path) -> None:
    appliance = opened(tmp_path)
    appliance.create_lun("p", "t", {"name": "one", "volsize": SIZE, "sparse": True})
    used = disk(appliance, "one").users
    used.add("a session")
    with pytest.raises(Fault, match="busy"):
        appliance.delete_lun("p", "t", "one")
    used.clear()
    appliance.delete_lun("p", "t", "one")
