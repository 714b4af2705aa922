"""What flavors and images ask of a guest's hardware: told to its host, refused, or found on no host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deuteron.model.hardware import Hardware, Processors, Rng, Video
from tests.unit.api_compute.harness import World, run, world

C = "/compute/v2.1"


async def flavor(w: World, vcpus: int = 1, **specs: str) -> str:
    """A flavor with these extra specs; `__` in their names stands for a colon, and `___` for a dot."""
    name = f"f{len((await w.admin.get(f'{C}/flavors'))['flavors'])}"
    body = {"name": name, "id": name, "ram": 128, "vcpus": vcpus, "disk": 1}
    await w.admin.post(f"{C}/flavors", {"flavor": body})
    named = {key.replace("___", ".").replace("__", ":"): value for key, value in specs.items()}
    if named:
        await w.admin.post(f"{C}/flavors/{name}/os-extra_specs", {"extra_specs": named})
    return name


async def asked(w: World, flavor_id: str, image: str) -> Any:
    body = {"name": "vm", "flavorRef": flavor_id, "imageRef": image, "networks": "none"}
    return await w.demo.request("POST", f"{C}/servers", {"server": body}, version="2.37")


async def why_not(w: World, flavor_id: str, image: str) -> str:
    """What the server that was asked for says of where it is to be."""
    answer = await asked(w, flavor_id, image)
    assert answer.status == 202, answer.body
    found = await w.admin.server(answer.json["server"]["id"])
    assert found["status"] == "ERROR", found
    assert (await w.demo.request("DELETE", f"{C}/servers/{found['id']}")).status == 204
    return str(found["fault"]["message"])


def test_what_flavor_and_image_ask_is_told_to_the_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            chosen = await flavor(
                w, 4, hw__cpu_threads="2", hw__cpu_max_sockets="2", hw__numa_nodes="1", hw__boot_menu="true",
                hw__watchdog_action="pause", hw_rng__rate_bytes="100", hw_rng__rate_period="1000",
                hw_video__ram_max_mb="32", quota__disk_read_iops_sec="500", quota__cpu_shares="0", hw__pmu="no",
                hide_hypervisor_id="yes", hw__mem_page_size="small",
            )  # fmt: skip
            image = await w.demo.image(
                hw_watchdog_action="reset", hw_video_model="vga", hw_video_ram="16", hw_vif_model="VirtualE1000",
                hw_input_bus="usb", hw_qemu_guest_agent="yes", hw_virtio_packed_ring="true", architecture="x86_64",
                hw_rng_model="virtio", hw_usb_model="nec-xhci",
            )  # fmt: skip
            assert (await asked(w, chosen, image)).status == 202
            await agent.until(lambda: bool(agent.servers()))
            assert agent.servers()[0].hardware == Hardware(
                processors=Processors(2, 1, 2),
                has_numa_node=True,
                rng=Rng(100, 1000),
                boot_menu=True,
                watchdog="reset",
                video=Video("vga", 16),
                pointer_bus="usb",
                usb="nec-xhci",
                has_agent_channel=True,
                hides_hypervisor=True,
                has_pmu=False,
                packed_ring=True,
                nic="e1000",
                disk_limits={"read_iops_sec": 500},
            )
            plain = await asked(w, "42", await w.demo.image())
            await agent.until(lambda: len(agent.servers()) == 2)
            mine = next(each for each in agent.servers() if each.id == plain.json["server"]["id"])
            assert mine.hardware == Hardware()
            none = await asked(w, await flavor(w, hw_rng__allowed="no"), await w.demo.image())
            await agent.until(lambda: len(agent.servers()) == 3)
            mine = next(each for each in agent.servers() if each.id == none.json["server"]["id"])
            assert mine.hardware == Hardware(rng=None)

    run(test())


CONTRADICTIONS: list[tuple[int, dict[str, str], dict[str, str], str]] = [
    (4, {"hw__cpu_max_cores": "2"}, {"hw_cpu_max_cores": "4"}, "Image vCPU topology limits (sockets=0, cores=4"),
    (4, {"hw__cpu_max_cores": "2"}, {"hw_cpu_cores": "4"}, "exceeds the limits of the flavor or image"),
    (4, {"hw__cpu_cores": "two"}, {}, "Invalid flavor extra spec"),
    (1, {}, {"hw_cpu_cores": "two"}, "Invalid image metadata. Error: invalid literal for int()"),
    (1, {}, {"hw_watchdog_action": "bark"}, "Invalid image metadata. Error: Field value bark is invalid"),
    (2, {"hw__cpu_policy": "shared"}, {"hw_cpu_policy": "dedicated"}, "not permitted to override CPU pinning policy"),
    (2, {"hw__cpu_policy": "mine"}, {}, "CPU policy requested from 'flavor extra specs' is invalid"),
    (2, {"hw__cpu_policy": "dedicated", "resources__VCPU": "1"}, {}, "use one or the other"),
    (2, {"hw__cpu_thread_policy": "isolate"}, {}, "Cannot set cpu thread pinning policy in a non dedicated"),
    (2, {"hw__numa_nodes": "1"}, {"hw_numa_nodes": "1"}, "Image property 'hw_numa_nodes' is not permitted"),
    (2, {"hw__numa_nodes": "0"}, {}, "The property 'numa_nodes' cannot be '0'"),
    (3, {"hw__numa_nodes": "2"}, {}, "cannot be evenly distributed"),
    (2, {"hw__numa_nodes": "1", "hw__numa_cpus___0": "0-1"}, {}, "must be provided for all NUMA nodes"),
    (2, {"hw__numa_nodes": "1", "hw__numa_cpus___0": "0-7", "hw__numa_mem___0": "128"}, {}, "larger than max 1"),
    (2, {"hw__numa_nodes": "1", "hw__numa_cpus___0": "0-1,^1", "hw__numa_mem___0": "128"}, {}, "not assigned to any"),
    (2, {"hw__numa_nodes": "1", "hw__numa_cpus___0": "0-1", "hw__numa_mem___0": "64"}, {}, "64 MB of memory assigned"),
    (1, {"hw__mem_page_size": "huge"}, {}, "Invalid memory page size 'huge'"),
    (1, {}, {"hw_mem_page_size": "large"}, "Page size large forbidden against '<empty>'"),
    (1, {"hw__mem_page_size": "small"}, {"hw_mem_page_size": "large"}, "Page size large forbidden against 'small'"),
    (1, {"hw__locked_memory": "yes"}, {}, "forbidden when mem_page_size is not set"),
    (1, {"hw__pmu": "yes"}, {"hw_pmu": "no"}, "has hw:pmu extra spec explicitly set to True, conflicting"),
    (1, {"hw__serial_port_count": "1"}, {"hw_serial_port_count": "2"}, "Forbidden to exceed flavor value"),
    (1, {"pci_passthrough__alias": "gpu:1"}, {}, "PCI alias gpu is not defined"),
    (1, {"accel__device_profile": "fpga"}, {}, "no accelerator service"),
    (1, {"hw__tpm_version": "1.2", "hw__tpm_model": "tpm-crb"}, {}, "only valid with TPM version 2.0"),
]


@pytest.mark.parametrize(
    ("vcpus", "specs", "properties", "why"), CONTRADICTIONS, ids=[each[3] for each in CONTRADICTIONS]
)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, vcpus: int, specs: dict[str, str], properties: dict[str, str], why: str
) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            refused = await asked(w, await flavor(w, vcpus, **specs), await w.demo.image(**properties))
            assert refused.status == 400 and why in refused.message, refused.body

    run(test())


def test_what_no_host_has_finds_none_and_says_what_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            plain = await w.demo.image()
            for vcpus, specs, why in (
                (2, {"hw__cpu_policy": "dedicated"}, "dedicated processors are asked for"),
                (2, {"hw__cpu_policy": "mixed", "hw__cpu_dedicated_mask": "0"}, "mixed processors are asked for"),
                (1, {"resources__PCPU": "1"}, "PCPU is asked for"),
                (2, {"hw__numa_nodes": "2"}, "2 NUMA nodes are asked for, and hosts here are one"),
                (1, {"hw__mem_page_size": "2MB"}, "memory in 2048 KiB pages is asked for"),
                (1, {"hw__mem_page_size": "large"}, "memory in large pages is asked for"),
                (1, {"hw__mem_page_size": "4", "hw__locked_memory": "1"}, "locked memory is asked for"),
                (
                    3,
                    {"hw__cpu_max_sockets": "1", "hw__cpu_max_cores": "2", "hw__cpu_max_threads": "1"},
                    "1:2:1 are imp",
                ),
                (1, {"hw__tpm_version": "2.0"}, "a TPM is asked for"),
                (1, {"hw__mem_encryption": "true"}, "mem_encryption is asked for"),
                (1, {"os__secure_boot": "required"}, "secure boot is asked for"),
                (1, {"quota__cpu_quota": "5000"}, "quota:cpu_quota is asked for"),
                (1, {"quota__vif_inbound_average": "10"}, "policies of ports"),
                (1, {"quota__disk_total_bytes_sec": "9", "quota__disk_read_bytes_sec": "9"}, "and excludes them"),
                (1, {"hw__watchdog_action": "bark"}, "watchdog action (bark) is not supported"),
                (2, {"hw__vif_multiqueue_enabled": "1"}, "several queues for each interface"),
            ):
                assert why in await why_not(w, await flavor(w, vcpus, **specs), plain), specs
            for properties, why in (
                ({"hw_architecture": "aarch64"}, "the image is for aarch64"),
                ({"img_hv_type": "xen"}, "the image is for xen"),
                ({"hw_vif_model": "sriov"}, "hw_vif_model=sriov"),
                ({"hw_disk_bus": "scsi"}, "hw_disk_bus=scsi, and hosts here give virtio"),
                ({"hw_video_model": "qxl"}, "hw_video_model=qxl"),
                ({"hw_video_ram": "64"}, "video memory 64 is higher than the maximum allowed by flavor 0"),
                ({"hw_firmware_type": "uefi"}, "the image asks for UEFI"),
                ({"hw_pointer_model": "usbtablet"}, "no graphical console"),
                ({"trait:CUSTOM_GOLD": "required"}, "it has not the trait CUSTOM_GOLD, which the image asks"),
            ):
                assert why in await why_not(w, "42", await w.demo.image(**properties)), properties

    run(test())


def test_a_server_is_rebuilt_and_resized_as_its_host_can(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            server = (await asked(w, "42", await w.demo.image(hw_vif_model="e1000"))).json["server"]["id"]
            await w.demo.until_status(server, "ACTIVE")
            for properties in ({"hw_firmware_type": "uefi"}, {"trait:CUSTOM_GOLD": "required"}):
                image = await w.demo.image(**properties)
                assert (await w.demo.action(server, "rebuild", {"imageRef": image})).status == 202
                found = await w.demo.server(server)
                assert found["status"] == "ACTIVE" and found["image"]["id"] != image
                done = (await w.admin.get(f"{C}/servers/{server}/os-instance-actions"))["instanceActions"][0]
                assert (done["action"], done["message"]) == ("rebuild", "Error")
            refused = await w.demo.action(server, "rebuild", {"imageRef": await w.demo.image(hw_cpu_cores="x")})
            assert refused.status == 400 and "Invalid image metadata" in refused.message
            image = await w.demo.image(hw_vif_model="rtl8139")
            assert (await w.demo.action(server, "rebuild", {"imageRef": image})).status == 202
            await agent.until(lambda: agent.servers()[0].hardware == Hardware(nic="rtl8139"))
            await w.demo.until_status(server, "ACTIVE")

            wrong = await flavor(w, 3, hw__numa_nodes="2")
            assert (await w.demo.action(server, "resize", {"flavorRef": wrong})).status == 400
            assert (
                await w.demo.action(server, "resize", {"flavorRef": await flavor(w, hw__tpm_version="2.0")})
            ).status == 202
            assert (await w.demo.server(server))["status"] == "ACTIVE"
            larger = await flavor(w, 2, hw__cpu_cores="2")
            assert (await w.demo.action(server, "resize", {"flavorRef": larger})).status == 202
            wanted = Hardware(nic="rtl8139", processors=Processors(1, 2, 1))
            await agent.until(lambda: agent.servers()[0].hardware == wanted)

    run(test())


def test_a_flavor_demands_what_hosts_tell_of_themselves(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agents = {name: await w.agent(name) for name in ("h1", "h2")}
            image = await w.demo.image()
            for specs, host in (
                ({"capabilities__host": "s== h2"}, "h2"),
                ({"capabilities__hypervisor_hostname": "<or> h3 <or> h1"}, "h1"),
                ({"capabilities__vcpus_total": ">= 1", "nodename": "h2", "free": "as a bird"}, "h2"),
                ({"capabilities__num_instances": "== 0", "capabilities__nodename": "s!= h9"}, None),
            ):
                chosen = await flavor(w, **specs)
                if host is None:
                    assert "capabilities:num_instances" in await why_not(w, chosen, image), "both have some by now"
                    continue
                made = (await asked(w, chosen, image)).json["server"]["id"]
                await w.demo.until_status(made, "ACTIVE")
                assert made in [each.id for each in agents[host].servers()], specs
            for specs, why in (
                ({"capabilities__free_ram_mb": ">= 999999999"}, 'capabilities:free_ram_mb ">= 999999999", and it is'),
                ({"capabilities__hypervisor_type": "<in> Xen"}, "capabilities:hypervisor_type"),
                (
                    {"capabilities__cpu_info__vendor": "Intel"},
                    '"capabilities:cpu_info:vendor", of which hosts tell nothing',
                ),
                ({"capabilities__vcpus_total": ">= many"}, "capabilities:vcpus_total"),
                ({"capabilities__vcpus_total": ">="}, "capabilities:vcpus_total"),
            ):
                assert why in await why_not(w, await flavor(w, **specs), image), specs

    run(test())
