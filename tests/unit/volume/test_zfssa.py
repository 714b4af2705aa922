"""The driver of an appliance against its simulator: what volumes hold, crashes, faults, and who sees what."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deuteron.appliance.trouble import Trouble
from deuteron.model.connections import IscsiConnection
from deuteron.model.intent import ImageRef
from deuteron.volume import VolumeFailure
from deuteron.volume.backups import BackupStore
from deuteron.volume.contract import BackendAway, Handover, Origin, Place
from deuteron.volume.registry import WrongOptions, checked_options, open_driver
from deuteron.volume.zfssa import ZfssaDriver, ZfssaOptions
from deuteron.volume.zfssa.copying import unit
from tests import appliances, needs
from tests.appliances import Simulator

pytestmark = needs.needs_iscsi()
MIB = 1024 * 1024
LUNS = "/api/storage/v1/pools/default/projects/test/luns"


def an_id() -> str:
    return str(uuid.uuid4())


def fetch(image: ImageRef, folder: Path) -> tuple[Path, str]:
    """An image of this many bytes, all of them `i`."""
    path = folder / image.id
    path.write_bytes(b"i" * image.size_bytes)
    return path, "raw"


def image_of(size_bytes: int = MIB) -> ImageRef:
    return ImageRef(an_id(), "raw", size_bytes, "", size_bytes)


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Simulator]:
    with appliances.running(tmp_path / "appliance", "--pool-size-gib", "4096") as simulator:
        yield simulator


def opened(appliance: Simulator, host: str = "h1", **more: Any) -> ZfssaDriver:
    folder = appliance.folder / host
    folder.mkdir(exist_ok=True)
    driver = open_driver("zfssa", Place("big", host, folder, fetch), appliance.options(**more))
    assert isinstance(driver, ZfssaDriver)
    return driver


def qemu_io(at: IscsiConnection, *commands: str) -> subprocess.CompletedProcess[str]:
    words = [word for command in commands for word in ("-c", command)]
    with unit(msgspec.structs.replace(at, user="")) as disk:
        line = ["qemu-io", *words, "--image-opts", disk.words]
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


def attached(driver: ZfssaDriver, volume: str) -> IscsiConnection:
    found = driver.export(volume, Path("/guests/one"))
    assert isinstance(found, IscsiConnection)
    return found


def write(driver: ZfssaDriver, volume: str, letter: str, at: int = 0) -> None:
    """What a guest does: 1 MiB of a letter."""
    done = qemu_io(attached(driver, volume), f"write -q -P {ord(letter)} {at} 1M", "flush")
    driver.withdraw(volume, Path("/guests/one"))
    assert done.returncode == 0, done.stderr


def holds(driver: ZfssaDriver, volume: str, letter: str, at: int = 0) -> bool:
    done = qemu_io(attached(driver, volume), f"read -q -P {ord(letter)} {at} 1M")
    driver.withdraw(volume, Path("/guests/one"))
    return done.returncode == 0 and "verification failed" not in done.stdout


def names(appliance: Simulator) -> list[str]:
    """Of all LUNs and snapshots."""
    luns = [each["name"] for each in appliance.ask("GET", LUNS)[1]["luns"]]
    return sorted(luns + [each["name"] for each in appliance.ask("GET", "/api/storage/v1/snapshots")[1]["snapshots"]])


def test_a_copy_holds_what_its_origin_held_and_each_goes_its_own_way(appliance: Simulator) -> None:
    driver = opened(appliance)
    one, copy, snapshot, back = (an_id() for _ in range(4))
    driver.make(one, 1, image_of())
    assert holds(driver, one, "i") and not list((appliance.folder / "h1" / "images").iterdir())
    write(driver, one, "a")
    driver.snapshot(snapshot, one)
    write(driver, one, "b")
    driver.clone(copy, 2, Origin("volume", one))
    write(driver, one, "c")
    driver.clone(back, 1, Origin("snapshot", snapshot))
    assert holds(driver, one, "c") and holds(driver, copy, "b") and holds(driver, back, "a")
    driver.delete("snapshot", snapshot)
    driver.delete("volume", one)
    assert driver.size_gib(one) is None and not driver.has_snapshot(snapshot)
    assert holds(driver, copy, "b") and holds(driver, back, "a")
    assert holds(driver, copy, "\0", at=1500 * MIB), "what nobody wrote is zeros"
    write(driver, copy, "d", at=1500 * MIB)
    driver.delete("volume", back)
    assert holds(driver, copy, "b") and holds(driver, copy, "d", at=1500 * MIB)
    driver.delete("volume", copy)
    assert names(appliance) == [], "nothing is left of what was deleted"


@pytest.mark.parametrize("size_gib", [1, 1024])
def test_a_copy_takes_no_longer_for_a_large_volume(appliance: Simulator, size_gib: int) -> None:
    driver = opened(appliance)
    one = an_id()
    driver.make(one, size_gib)
    write(driver, one, "a")
    taken = []
    for _ in range(5):
        begun = time.monotonic()
        driver.clone(an_id(), size_gib, Origin("volume", one))
        taken.append(time.monotonic() - begun)
    print(f"clones of {size_gib} GiB: {', '.join(f'{each * 1000:.0f} ms' for each in taken)}")
    assert min(taken) < 0.5, taken
    used = sum(path.stat().st_blocks * 512 for path in (appliance.folder / "state").rglob("*"))
    assert used < 64 * MIB


@pytest.mark.parametrize("die", ["before", "after"])
@pytest.mark.parametrize(
    "request_of",
    ["POST .*/luns", "POST .*/snapshots", "PUT .*/clone", "PUT .*/volume-.*", "PUT .*/part-.*", "DELETE .*"],
)
def test_the_appliance_may_die_at_any_request_and_what_was_asked_is_continued(
    appliance: Simulator, request_of: str, die: Any
) -> None:
    driver = opened(appliance)
    one = an_id()
    driver.make(one, 1, image_of())
    write(driver, one, "a")
    made, copy, of_image, snapshot = (an_id() for _ in range(4))
    steps: tuple[Callable[[ZfssaDriver], object], ...] = (
        lambda by: by.make(made, 1),
        lambda by: by.extend(made, 2),
        lambda by: by.clone(copy, 2, Origin("volume", one)),
        lambda by: by.snapshot(snapshot, one),
        lambda by: by.make(of_image, 1, image_of()),
        lambda by: by.delete("volume", made),
        lambda by: by.delete("snapshot", snapshot),
    )
    appliance.trouble(Trouble(match=request_of, die=die, times=1))
    deaths = 0
    for step in steps:
        while True:
            try:
                step(driver)
                break
            except VolumeFailure:
                appliance.wait()
                deaths += 1
                assert deaths < 3
                appliance.trouble()
                appliance.start()
                # The host may have died as well.
                driver = opened(appliance)
    assert deaths == 1, "the trouble was met"
    assert [driver.size_gib(each) for each in (one, made, copy, of_image)] == [1, None, 2, 1]
    assert holds(driver, one, "a") and holds(driver, copy, "a") and holds(driver, of_image, "i")
    for each in (one, copy, of_image):
        driver.delete("volume", each)
    assert names(appliance) == []


@pytest.mark.parametrize("die", ["before", "after"])
@pytest.mark.parametrize("request_of", ["PUT .*/clone", "PUT .*/volume-.*", "PUT .*/part-.*"])
def test_a_volume_goes_back_to_a_snapshot_and_the_appliance_may_die_in_it(
    appliance: Simulator, request_of: str, die: Any
) -> None:
    driver = opened(appliance)
    one, snapshot = an_id(), an_id()
    driver.make(one, 1)
    write(driver, one, "a")
    driver.snapshot(snapshot, one)
    write(driver, one, "b")
    appliance.trouble(Trouble(match=request_of, die=die, times=1))
    with pytest.raises(VolumeFailure):
        driver.revert(one, snapshot)
    appliance.wait()
    appliance.trouble()
    appliance.start()
    driver = opened(appliance)
    assert driver.size_gib(one) == 1 and (holds(driver, one, "a") or holds(driver, one, "b"))
    driver.revert(one, snapshot)
    assert holds(driver, one, "a") and driver.has_snapshot(snapshot)
    write(driver, one, "c")
    driver.revert(one, snapshot)
    assert holds(driver, one, "a")
    driver.delete("snapshot", snapshot)
    driver.delete("volume", one)
    assert names(appliance) == []


def test_what_was_written_is_there_after_the_appliance_was_killed(appliance: Simulator) -> None:
    driver = opened(appliance)
    one, copy = an_id(), an_id()
    driver.make(one, 1)
    write(driver, one, "a")
    driver.clone(copy, 1, Origin("volume", one))
    write(driver, copy, "b", at=5 * MIB)
    appliance.kill()
    with pytest.raises(BackendAway):
        driver.size_gib(one)
    with pytest.raises(BackendAway):
        driver.figures()
    appliance.start()
    assert holds(driver, one, "a") and holds(driver, copy, "a") and holds(driver, copy, "b", at=5 * MIB)
    assert holds(driver, one, "\0", at=5 * MIB)


def test_a_restore_is_whole_or_was_not_and_the_appliance_may_die_in_it(appliance: Simulator, tmp_path: Path) -> None:
    driver = opened(appliance)
    one, snapshot, saved = an_id(), an_id(), tmp_path / "saved"
    driver.make(one, 1)
    write(driver, one, "a")
    driver.snapshot(snapshot, one)
    driver.save(Origin("volume", one), saved, None)
    for request_of in (f"PUT .*/volume-{one}", f"PUT .*/part-{one}"):
        for die in ("before", "after"):
            write(driver, one, "b")
            appliance.trouble(Trouble(match=request_of, die=die, times=1))
            with pytest.raises(VolumeFailure):
                driver.load(one, saved)
            appliance.wait()
            appliance.trouble()
            appliance.start()
            driver = opened(appliance)
            assert driver.size_gib(one) == 1
            assert holds(driver, one, "a") or holds(driver, one, "b")
            driver.load(one, saved)
            assert holds(driver, one, "a")
    assert driver.has_snapshot(snapshot), "a snapshot of what it held is there still"
    copy = an_id()
    driver.clone(copy, 1, Origin("snapshot", snapshot))
    assert holds(driver, copy, "a")
    driver.delete("snapshot", snapshot)
    driver.delete("volume", one)
    driver.delete("volume", copy)
    assert names(appliance) == []


def test_a_backup_is_a_copy_and_a_later_one_only_what_differs(appliance: Simulator, tmp_path: Path) -> None:
    driver, store = opened(appliance), BackupStore(tmp_path / "backups")
    volume, first, second, target = (an_id() for _ in range(4))
    driver.make(volume, 1)
    for megabyte in range(4):
        write(driver, volume, "a", megabyte * MIB)
    origin = Origin("volume", volume)
    store.keep(first, None, lambda part, below: driver.save(origin, part, below))
    write(driver, volume, "b", 2 * MIB)
    driver.extend(volume, 2)
    write(driver, volume, "c", 1500 * MIB)
    store.keep(second, first, lambda part, below: driver.save(origin, part, below))
    sizes = [store.path(each).stat().st_blocks * 512 for each in (first, second)]
    assert 4 * MIB <= sizes[0] < 5 * MIB and 2 * MIB <= sizes[1] < 3 * MIB
    driver.make(target, 3)
    driver.load(target, store.path(second))
    for at, letter in ((0, "a"), (2, "b"), (3, "a"), (1500, "c"), (2500, "\0")):
        assert holds(driver, target, letter, at * MIB)
    driver.delete("volume", volume)
    driver.delete("volume", target)
    assert names(appliance) == [], "what the copies were read from is gone"


def test_what_a_volume_holds_becomes_an_image(appliance: Simulator, tmp_path: Path) -> None:
    driver = opened(appliance)
    one = an_id()
    driver.make(one, 1)
    write(driver, one, "a", MIB)
    driver.read(one, "raw", tmp_path / "raw")
    with (tmp_path / "raw").open("rb") as file:
        assert file.read(MIB) == b"\0" * MIB and file.read(MIB) == b"a" * MIB
    driver.read(one, "qcow2", tmp_path / "qcow2")
    assert (tmp_path / "qcow2").stat().st_blocks * 512 < 2 * MIB, "holes stay holes"


def test_an_image_that_is_larger_than_the_volume_is_refused(appliance: Simulator) -> None:
    driver = opened(appliance)

    def large(image: ImageRef, folder: Path) -> tuple[Path, str]:
        path = folder / image.id
        with path.open("wb") as file:
            file.truncate(2 << 30)
        return path, "raw"

    place = Place("big", "h1", appliance.folder / "h1", large)
    driver = ZfssaDriver(place, msgspec.convert(appliance.options(), ZfssaOptions))
    with pytest.raises(VolumeFailure, match="it holds 2147483648 bytes"):
        driver.make(an_id(), 1, image_of())
    assert names(appliance) == []


def test_only_who_has_a_volume_sees_it(appliance: Simulator) -> None:
    iqns = {host: f"iqn.2014-08.org.example:{host}" for host in ("h1", "h2", "h3")}
    more = {"zfssa_initiator_group": "hosts", "zfssa_initiator": f"{iqns['h1']}, {iqns['h2']}"}
    first, second = (opened(appliance, host, **more) for host in ("h1", "h2"))
    one = an_id()
    first.make(one, 1)
    at = first.export(one, Path("/guests/one"))
    assert isinstance(at, IscsiConnection) and at.initiator == iqns["h1"]
    assert qemu_io(at, "read -q 0 512").returncode == 0
    stranger = msgspec.structs.replace(at, initiator=iqns["h3"])
    assert qemu_io(stranger, "read -q 0 512").returncode != 0
    with pytest.raises(VolumeFailure, match="attached"):
        second.export(one, Path("/guests/one"))
    second.withdraw(one, Path("/guests/one"))
    assert first.export(one, Path("/guests/one")) == at, "another host's guest with the same folder is another"
    first.withdraw(one, Path("/guests/one"))
    assert qemu_io(at, "read -q 0 512").returncode != 0, "nobody has it: nobody sees it"
    moved = second.export(one, Path("/guests/one"))
    assert isinstance(moved, IscsiConnection) and moved.initiator == iqns["h2"]
    assert qemu_io(moved, "read -q 0 512").returncode == 0


def test_a_password_of_iscsi_is_asked_for(appliance: Simulator, tmp_path: Path) -> None:
    iqn, secret = "iqn.2014-08.org.example:h1", "twelve or more, and a comma"
    more = {"zfssa_initiator": iqn, "zfssa_initiator_user": "host", "zfssa_initiator_password": secret}
    driver = opened(appliance, zfssa_initiator_group="hosts", **more)
    one, other = an_id(), an_id()
    driver.make(one, 1, image_of())
    driver.clone(other, 1, Origin("volume", one))
    driver.read(other, "raw", tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes()[:MIB] == b"i" * MIB
    at = attached(driver, one)
    assert (at.user, at.password) == ("host", secret) and secret not in repr(at)
    without = qemu_io(msgspec.structs.replace(at, user="", password=""), "read -q 0 512")
    assert without.returncode != 0
    shown = appliance.ask("GET", "/api/san/v1/iscsi/initiators")[1]
    assert secret not in str(shown)
    with pytest.raises(VolumeFailure, match="asks for CHAP"):
        opened(appliance)


def test_a_session_that_ended_is_opened_again(appliance: Simulator) -> None:
    driver = opened(appliance)
    one = an_id()
    driver.make(one, 1)
    appliance.kill()
    appliance.start()
    assert driver.size_gib(one) == 1


def test_an_appliance_that_is_late_is_away_and_asked_again(appliance: Simulator) -> None:
    driver = opened(appliance, zfssa_rest_timeout=1)
    one = an_id()
    appliance.trouble(Trouble(match="POST .*/luns", late_s=5, times=1))
    begun = time.monotonic()
    with pytest.raises(BackendAway, match="did not answer"):
        driver.make(one, 1)
    assert time.monotonic() - begun < 4.5, "it waits for a second, and not for the answer"
    # It was carried out after all: who asks again, and waits longer on a busy machine, finds it.
    patient = opened(appliance)
    deadline = time.monotonic() + 30
    while patient.size_gib(one) is None:
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    patient.make(one, 1)
    assert patient.size_gib(one) == 1


@pytest.mark.parametrize("status", [500, 503])
def test_an_appliance_that_is_busy_is_away(appliance: Simulator, status: int) -> None:
    driver = opened(appliance)
    appliance.trouble(Trouble(match="GET .*", status=status))
    with pytest.raises(BackendAway):
        driver.figures()
    appliance.trouble()
    assert driver.figures().total_gib == 4096


def test_a_lun_that_vanished_is_told_as_such(appliance: Simulator, tmp_path: Path) -> None:
    driver = opened(appliance)
    one = an_id()
    driver.make(one, 1)
    assert appliance.ask("DELETE", f"{LUNS}/volume-{one}")[0] == 204
    assert driver.size_gib(one) is None
    for attempt in (
        lambda: driver.extend(one, 2),
        lambda: driver.export(one, tmp_path / "guest"),
        lambda: driver.read(one, "raw", tmp_path / "raw"),
        lambda: driver.clone(an_id(), 1, Origin("volume", one)),
    ):
        with pytest.raises(VolumeFailure, match=f"volume-{one}"):
            attempt()
    driver.delete("volume", one)


def test_a_pool_that_is_full_is_told_as_such(tmp_path: Path) -> None:
    with appliances.running(tmp_path / "appliance", "--pool-size-gib", "2") as appliance:
        driver = opened(appliance, zfssa_lun_sparse=False)
        one, other = an_id(), an_id()
        driver.make(one, 1)
        assert (driver.figures().total_gib, driver.figures().free_gib) == (2, 1)
        with pytest.raises(VolumeFailure, match="out of space"):
            driver.make(other, 2)
        with pytest.raises(VolumeFailure, match="out of space"):
            driver.extend(one, 3)
        assert driver.size_gib(one) == 1 and driver.size_gib(other) is None
        assert not driver.capabilities.thin_provisioning_support


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"zfssa_auth_password": "wrong"}, 'does not let user "root" in'),
        ({"zfssa_pool": "nothing"}, 'has no pool "nothing"'),
        ({"zfssa_target_interfaces": "e1000g0,ixgbe9"}, 'no network interface "ixgbe9"'),
        ({"driver_ssl_cert_verify": True}, "not to be trusted"),
    ],
)
def test_a_driver_that_cannot_work_says_why(appliance: Simulator, more: dict[str, Any], why: str) -> None:
    with pytest.raises(VolumeFailure, match=why):
        opened(appliance, **more)


def test_a_certificate_that_is_named_is_believed(appliance: Simulator) -> None:
    path = str(appliance.folder / "state" / "tls.pem")
    with pytest.raises(VolumeFailure, match=r"127\.0\.0\.1"):
        opened(appliance, driver_ssl_cert_verify=True, driver_ssl_cert_path=path)


def test_two_hosts_open_one_appliance_and_find_each_others_volumes(appliance: Simulator) -> None:
    first, second = opened(appliance, "h1"), opened(appliance, "h2")
    one = an_id()
    first.make(one, 1)
    second.extend(one, 2)
    assert first.size_gib(one) == 2 and first.capabilities.is_networked


GOOD = {
    "zfssa_host": "192.0.2.7",
    "zfssa_auth_user": "root",
    "zfssa_auth_password": "secret",
    "zfssa_pool": "default",
    "zfssa_target_portal": "192.0.2.7:3260",
    "zfssa_project": "test",
    "zfssa_initiator_group": "default",
    "zfssa_target_interfaces": "e1000g0",
}
"""As the seeds' chapter has it."""


def test_the_chapters_settings_are_taken_as_they_are() -> None:
    options = checked_options("zfssa", GOOD)
    assert isinstance(options, ZfssaOptions)
    assert (options.address, options.portal, options.interfaces) == (("192.0.2.7", 215), "192.0.2.7:3260", ["e1000g0"])
    newer = {key.replace("zfssa_host", "san_ip"): value for key, value in GOOD.items()}
    newer |= {"san_ip": "[2001:db8::7]:2150", "zfssa_target_portal": "[2001:db8::7]"}
    options = checked_options("zfssa", newer)
    assert isinstance(options, ZfssaOptions)
    assert (options.address, options.portal) == (("2001:db8::7", 2150), "[2001:db8::7]:3260")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"san_ip": "192.0.2.8"}, "one of zfssa_host and san_ip"),
        ({"zfssa_host": ""}, "one of zfssa_host and san_ip"),
        ({"zfssa_host": "https://192.0.2.7"}, "zfssa_host is an address"),
        ({"zfssa_pool": "../x"}, "zfssa_pool"),
        ({"zfssa_lun_volblocksize": "3k"}, "zfssa_lun_volblocksize"),
        ({"zfssa_lun_compression": "zip"}, "zfssa_lun_compression"),
        ({"zfssa_rest_timeout": 0}, "zfssa_rest_timeout"),
        ({"zfssa_initiator": "iqn.2014-08.org.example:h1"}, "zfssa_initiator names those of a group"),
        ({"zfssa_initiator_group": "hosts"}, "zfssa_initiator is needed"),
        ({"zfssa_initiator_group": "hosts", "zfssa_initiator": "h1"}, "has IQNs"),
        ({"zfssa_initiator_user": "u"}, "go together"),
        ({"zfssa_initiator_user": "u", "zfssa_initiator_password": "x" * 12}, "zfssa_initiator is needed"),
        ({"driver_ssl_cert_path": "/x"}, "driver_ssl_cert_verify"),
        ({"zfssa_target_user": "u"}, "zfssa_target_user"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(WrongOptions, match=why) as refused:
        checked_options("zfssa", GOOD | more)
    assert "secret" not in str(refused.value)


def test_two_hosts_have_a_volume_only_while_a_guest_goes_from_one_to_the_other(appliance: Simulator) -> None:
    hosts = {host: opened(appliance, host) for host in ("h1", "h2", "h3")}
    one, folder = an_id(), Path("/guests/one")
    hosts["h1"].make(one, 1)
    here = hosts["h1"].export(one, folder)
    for stranger in (Handover(), Handover(beside="h3"), Handover(after=("h3",))):
        with pytest.raises(VolumeFailure, match="attached"):
            hosts["h2"].export(one, folder, stranger)
    there = hosts["h2"].export(one, folder, Handover(beside="h1"))
    assert isinstance(here, IscsiConnection) and isinstance(there, IscsiConnection)
    assert qemu_io(here, "write -q -P 7 0 4k", "flush").returncode == 0
    assert qemu_io(there, "read -q -P 7 0 4k").returncode == 0
    assert (hosts["h1"].export(one, folder), hosts["h2"].export(one, folder)) == (here, there), "asked again"
    with pytest.raises(VolumeFailure, match="attached"):
        hosts["h3"].export(one, folder, Handover(beside="h1"))
    hosts["h2"].withdraw(one, folder)
    assert qemu_io(here, "read -q -P 7 0 4k").returncode == 0, "it stays after all"
    hosts["h2"].export(one, folder, Handover(beside="h1"))
    hosts["h1"].withdraw(one, folder)
    assert qemu_io(there, "read -q -P 7 0 4k").returncode == 0, "it is here"
    last = hosts["h3"].export(one, folder, Handover(after=("h2",)))
    hosts["h2"].withdraw(one, folder)
    assert isinstance(last, IscsiConnection) and qemu_io(last, "read -q -P 7 0 4k").returncode == 0
    with pytest.raises(VolumeFailure, match="attached"):
        hosts["h1"].delete("volume", one)
    hosts["h3"].withdraw(one, folder)
    assert qemu_io(last, "read -q 0 512").returncode != 0
    hosts["h1"].delete("volume", one)
