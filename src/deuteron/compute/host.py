"""What this host can run servers with: processors, memory, and KVM or software emulation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from deuteron.compute.contract import ComputeDriver, HostFacts, VolumeSource
from deuteron.compute.domain import Display, HostWiring, VirtType
from deuteron.compute.emulator import install_emulator
from deuteron.compute.probe import QEMU, KvmProbe, probe_kvm
from deuteron.compute.simulated import SimulatedCompute
from deuteron.model.intent import HostSettings, Plug, ServerPort


class NoHypervisor(Exception):
    """The host cannot run servers as its settings demand."""


def open_compute(
    settings: HostSettings, plug: Callable[[ServerPort], Plug], volumes: VolumeSource | None = None
) -> ComputeDriver:
    """The compute driver that the settings ask for. Runs the KVM probe (up to 2 s); does not wait for libvirtd.

    `plug` says what a server's network card is connected to; from `volumes` come the volumes of servers.

    Raises: NoHypervisor if `virt_type` is "kvm" and KVM does not run here; or if there is no QEMU.
    """
    if settings.dataplane == "none":
        return SimulatedCompute(settings, host_facts(settings.state_dir, "qemu", hypervisor_version()))
    # Here, so that a host without compute, or without libvirt's Python binding, can do everything else.
    from deuteron.compute.driver import LibvirtCompute

    virt_type = choose_virt_type(settings, probe_kvm)
    wiring = HostWiring(
        virt_type=virt_type,
        plug=plug,
        emulator=_emulator(settings),
        displays=displays(),
    )
    facts = host_facts(settings.state_dir, virt_type, hypervisor_version())
    return LibvirtCompute(settings, wiring, facts, volumes=volumes)


def _emulator(settings: HostSettings) -> str:
    try:
        return install_emulator(Path(settings.state_dir))
    except OSError as error:
        raise NoHypervisor(f"cannot prepare QEMU on host {settings.host}: {error}") from error


def choose_virt_type(settings: HostSettings, probe: Callable[[], KvmProbe]) -> VirtType:
    """KVM where a guest really runs with it, unless the settings say otherwise."""
    if settings.virt_type == "qemu":
        return "qemu"
    result = probe()
    if result.usable:
        return "kvm"
    if settings.virt_type == "kvm":
        raise NoHypervisor(f'virt_type is "kvm" on host {settings.host}, and KVM does not run here: {result.reason}')
    return "qemu"


def host_facts(state_dir: str, virt_type: VirtType, version: int) -> HostFacts:
    """Processors, memory and disk of this machine."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return HostFacts(
        vcpus=len(os.sched_getaffinity(0)),
        memory_mib=memory_bytes >> 20,
        disk_gib=shutil.disk_usage(state_dir).total >> 30,
        hypervisor_type="QEMU",
        hypervisor_version=version,
        virt_type=virt_type,
    )


def displays() -> tuple[Display, ...]:
    """What this host's QEMU shows screens with: always VNC, and SPICE where the package of it is installed."""
    command = [QEMU, "-M", "none", "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "stdio"]
    command += ["-spice", "port=0,disable-ticketing=on"]
    try:
        tried = subprocess.run(command, input=b"quit\n", capture_output=True, check=False, timeout=20)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ("vnc",)
    return ("vnc", "spice") if tried.returncode == 0 else ("vnc",)


def hypervisor_version() -> int:
    """QEMU's version as libvirt counts, 7.2.22 is 7002022; 0 if there is no QEMU."""
    try:
        shown = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=False, timeout=20).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r"version (\d+)\.(\d+)(?:\.(\d+))?", shown)
    return int(match[1]) * 1_000_000 + int(match[2]) * 1000 + int(match[3] or 0) if match else 0
