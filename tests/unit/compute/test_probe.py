"""The KVM probe: its firmware as a value, and what it says where KVM cannot be."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from deuteron.compute.contract import HostFacts
from deuteron.compute.host import NoHypervisor, choose_virt_type
from deuteron.compute.probe import QEMU, KvmProbe, probe_kvm, probe_rom, probe_tcg
from deuteron.compute.simulated import SIMULATED_CONSOLE, SimulatedCompute
from deuteron.model.intent import HostSettings, IntentServer
from tests import needs

SETTINGS = HostSettings("h1", "/nowhere", "/nowhere/s", "t")


def test_the_reset_vector_jumps_to_the_code() -> None:
    rom = probe_rom()

    assert len(rom) == 0x10000
    assert rom[0xFFF0] == 0xE9
    target = (0xFFF3 + int.from_bytes(rom[0xFFF1:0xFFF3], "little", signed=True)) & 0xFFFF
    assert rom[target] == 0xFA


def test_no_device_is_no_kvm(tmp_path: Path) -> None:
    assert probe_kvm(device=tmp_path / "kvm") == KvmProbe(False, f"there is no {tmp_path}/kvm")


@pytest.mark.parametrize("path", ["/dev/null", "/etc/passwd"])
def test_another_file_is_no_kvm(path: str) -> None:
    assert probe_kvm(device=Path(path)) == KvmProbe(False, f"{path} is not the KVM device")


@needs.needs_program(QEMU)
def test_the_firmware_answers_under_emulation() -> None:
    probe = probe_tcg()

    assert probe.usable, probe.reason


def test_kvm_is_used_only_where_it_runs() -> None:
    works, hangs = (lambda: KvmProbe(True, "")), (lambda: KvmProbe(False, "it hung"))
    demanded = msgspec.structs.replace(SETTINGS, virt_type="kvm")

    assert choose_virt_type(SETTINGS, works) == "kvm"
    assert choose_virt_type(SETTINGS, hangs) == "qemu"
    assert choose_virt_type(msgspec.structs.replace(SETTINGS, virt_type="qemu"), works) == "qemu"
    with pytest.raises(NoHypervisor, match="it hung"):
        choose_virt_type(demanded, hangs)


def test_simulated_servers_are_what_they_should_be_and_say_so() -> None:
    compute = SimulatedCompute(SETTINGS, HostFacts(1, 1024, 10, "QEMU", 0, "qemu"))
    changes: list[int] = []
    compute.on_change = lambda: changes.append(1)
    server = IntentServer("s", "vm", "p", "u", "vm", "f", 1, 64, 1, power="paused")

    compute.sync({"s": server}, {}, frozenset())
    compute.sync({"s": server}, {}, frozenset())

    assert [(report.id, report.state) for report in compute.reports()] == [("s", "paused")]
    assert compute.console_log("s") == SIMULATED_CONSOLE
    assert len(changes) == 1
    compute.sync({}, {}, frozenset())
    assert compute.reports() == ()
