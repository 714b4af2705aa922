"""What a guest is made of beyond its size: extra specs of its flavor, and properties of its image.

What is asked for is given in the guest's domain (`compute.hardware`); or contradicts itself, and is refused when it
is asked for; or cannot be had here, and then no host is found for the server, with the reason. None of it is kept
and forgotten.

Source: nova/virt/hardware.py, nova/virt/libvirt/driver.py `_get_guest_config`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from deuteron.model.codecs import quoted
from deuteron.model.compute import Flavor, Inherited
from deuteron.model.errors import BadRequest
from deuteron.model.hardware import Hardware, Processors, Rng, Video
from deuteron.rules.compute import image_properties, numa, processors
from deuteron.rules.compute.image_properties import is_number
from deuteron.rules.compute.numa import is_on

DISK_LIMITS: Final = tuple(f"{what}_{unit}_sec" for what in ("read", "write", "total") for unit in ("bytes", "iops"))
_BUSES: Final = ("virtio",)
_NICS: Final = ("virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3")
_VIDEO: Final = ("vga", "cirrus", "virtio", "bochs", "vmvga", "none")
_WATCHDOG: Final = ("none", "pause", "poweroff", "reset")
_X86: Final = ("x86_64", "amd64", "x86-64")
_EITHER: Final = ("hw:hide_hypervisor_id", "hide_hypervisor_id")
_UNCONTROLLED: Final = ("quota:cpu_shares", "quota:cpu_period", "quota:cpu_quota")
_VIF: Final = "quota:vif_"
_ENCRYPTED: Final = ("mem_encryption", "ephemeral_encryption")


def of_row(stored_flavor: object, stored_image: object) -> Hardware:
    """That of a server that is there; as all have it, where it was made before anybody looked at what it asks."""
    image: Mapping[str, str] = {} if stored_image is None else msgspec.convert(stored_image, Inherited).properties
    try:
        return asked(msgspec.convert(stored_flavor, Flavor), image)
    except BadRequest:
        return Hardware()


def asked(flavor: Flavor, properties: Mapping[str, str]) -> Hardware:
    """What flavor and image ask for together. Raises: BadRequest for what contradicts itself, or says nothing."""
    image, specs = image_properties.checked(properties), flavor.extra_specs
    of_numa, shape = numa.asked(flavor, image), processors.topology(flavor, image)
    _refuse_devices(specs)
    _check_serial_ports(specs, image)
    if flavor.vcpus > 1:
        _agreed(flavor, image, "vif_multiqueue_enabled")
    _check_tpm(flavor, image)
    pointer = image.get("hw_input_bus")
    usb = _unique(flavor, image, "usb_model")
    return Hardware(
        processors=shape if isinstance(shape, Processors) else None,
        has_numa_node=of_numa.has_node,
        rng=_rng(specs),
        boot_menu=is_on(specs.get("hw:boot_menu", image.get("hw_boot_menu", "no"))),
        watchdog=action if (action := _watchdog(specs, image)) in _WATCHDOG else None,
        video=_video(image),
        pointer_bus=pointer,
        usb=None if usb == "none" else usb,
        has_agent_channel=is_on(image.get("hw_qemu_guest_agent", "no")),
        hides_hypervisor=any(is_on(specs.get(key, "no")) for key in _EITHER)
        or is_on(image.get("img_hide_hypervisor_id", "no")),
        has_pmu=_agreed(flavor, image, "pmu"),
        packed_ring=bool(_agreed(flavor, image, "virtio_packed_ring")),
        nic=image.get("hw_vif_model", "virtio"),
        disk_limits={
            name: int(specs[f"quota:disk_{name}"])
            for name in DISK_LIMITS
            if is_number(specs.get(f"quota:disk_{name}", "")) and int(specs[f"quota:disk_{name}"]) > 0
        },
    )


def lacking(flavor: Flavor, properties: Mapping[str, str]) -> str | None:
    """Why no host here can run what flavor and image ask for; None if all of it can be had."""
    try:
        image = image_properties.checked(properties)
        of_numa, shape = numa.asked(flavor, image), processors.topology(flavor, image)
    except BadRequest:
        return None  # it was there before anybody looked
    if of_numa.lacks or isinstance(shape, str):
        return of_numa.lacks or str(shape)
    return next(_lacking(flavor, image), None)


def _lacking(flavor: Flavor, image: Mapping[str, str]) -> Iterator[str]:
    specs = flavor.extra_specs
    architecture = image.get("hw_architecture", "x86_64")
    if architecture.lower() not in _X86:
        yield f"the image is for {quoted(architecture)}, and hosts here are x86_64"
    if image.get("img_hv_type", "qemu").lower() not in ("qemu", "kvm"):
        yield f"the image is for {quoted(image['img_hv_type'])}, and hosts here run QEMU"
    if image.get("hw_vm_mode", "hvm").lower() != "hvm":
        yield f"the image is for virtual machines of mode {quoted(image['hw_vm_mode'])}, and hosts here run hvm"
    for name, given in (("hw_disk_bus", _BUSES), ("hw_vif_model", _NICS), ("hw_video_model", _VIDEO)):
        if name in image and image[name] not in given:
            yield f"the image asks {name}={image[name]}, and hosts here give {', '.join(given)}"
    if image.get("hw_firmware_type") == "uefi":
        yield "the image asks for UEFI, and guests here have a BIOS"
    if "required" in (specs.get("os:secure_boot"), image.get("os_secure_boot")):
        yield "secure boot is asked for, and guests here have a BIOS"
    if image.get("hw_pointer_model"):
        yield "the image asks hw_pointer_model=usbtablet, and guests here have no graphical console"
    if (action := _watchdog(specs, image)) not in (*_WATCHDOG, "disabled"):
        yield f"Provided watchdog action ({quoted(action)}) is not supported."
    for unit in ("bytes", "iops"):
        both = [_number(specs, f"quota:disk_{what}_{unit}_sec") for what in ("total", "read", "write")]
        if both[0] and any(both[1:]):
            yield f"quota:disk_total_{unit}_sec is asked for beside a limit of reads or writes, and excludes them"
    if image_ram := int(image.get("hw_video_ram", "0")):
        most = _number(specs, "hw_video:ram_max_mb")
        if image_ram > most:
            yield (
                f"The requested amount of video memory {image_ram} is higher than the maximum allowed by flavor {most}."
            )
    for key, what in (("tpm_version", "a TPM"), ("viommu_model", "an IOMMU"), ("sound_model", "a sound card")):
        if specs.get(f"hw:{key}") or image.get(f"hw_{key}"):
            yield f"{what} is asked for, and guests here have none"
    for key in _ENCRYPTED:
        if is_on(specs.get(f"hw:{key}", "no")) or is_on(image.get(f"hw_{key}", "no")):
            yield f"{key} is asked for, and hosts here encrypt nothing of guests"
    if specs.get("hw:pmem"):
        yield "persistent memory is asked for, and hosts here have none"
    ports = max(_number(specs, "hw:redirected_usb_ports"), int(image.get("hw_redirected_usb_ports", "0")))
    if ports:
        yield "redirected USB ports are asked for, and there is no console to redirect any from"
    has_queues = specs.get("hw:vif_multiqueue_enabled", image.get("hw_vif_multiqueue_enabled", "no"))
    if flavor.vcpus > 1 and is_on(has_queues):
        yield "several queues for each interface are asked for, and hosts here give one"
    for key in _UNCONTROLLED:
        if _number(specs, key):
            yield f"{key} is asked for, and hosts here do not control the processor time of guests"
    for key in sorted(specs):
        if key.startswith(_VIF) and _number(specs, key):
            yield f"{key} is asked for, and what limits traffic here are policies of ports"


def _refuse_devices(specs: Mapping[str, str]) -> None:
    """Raises: BadRequest for devices of the host: there is no list of them here, and no service for others."""
    for alias in specs.get("pci_passthrough:alias", "").split(","):
        if name := alias.partition(":")[0].strip():
            raise BadRequest(f"PCI alias {quoted(name)} is not defined", type="PciRequestAliasNotDefined")
    if profile := specs.get("accel:device_profile"):
        raise BadRequest(
            f"Device profile name {quoted(profile)}: there is no accelerator service in this cloud",
            type="DeviceProfileError",
        )


def _rng(specs: Mapping[str, str]) -> Rng | None:
    if not is_on(specs.get("hw_rng:allowed", "yes")):
        return None
    rate = _number(specs, "hw_rng:rate_bytes")
    return Rng(rate, _number(specs, "hw_rng:rate_period")) if rate else Rng()


def _watchdog(specs: Mapping[str, str], image: Mapping[str, str]) -> str:
    """What the image says, or else the flavor."""
    return image.get("hw_watchdog_action") or specs.get("hw:watchdog_action", "disabled")


def _video(image: Mapping[str, str]) -> Video | None:
    model = image.get("hw_video_model")
    memory_mib = int(image.get("hw_video_ram", "0"))
    if model is None and not memory_mib:
        return None
    return Video(model or "virtio", max(0, memory_mib)) if model != "none" else None


def _check_serial_ports(specs: Mapping[str, str], image: Mapping[str, str]) -> None:
    """There is one here, as with Nova unless it offers serial consoles. Raises: BadRequest."""
    flavors, images = specs.get("hw:serial_port_count"), image.get("hw_serial_port_count")
    if flavors and not is_number(flavors):
        raise BadRequest(
            f"Number of serial ports specified in flavor is invalid: expected an integer, got '{quoted(flavors)}'",
            type="ImageSerialPortNumberInvalid",
        )
    if flavors and images and int(flavors) and int(images) > int(flavors):
        raise BadRequest(
            "Forbidden to exceed flavor value of number of serial ports passed in image meta.",
            type="ImageSerialPortNumberExceedFlavorValue",
        )


def _check_tpm(flavor: Flavor, image: Mapping[str, str]) -> None:
    version, model = _unique(flavor, image, "tpm_version"), _unique(flavor, image, "tpm_model")
    if version is not None and model == "tpm-crb" and version != "2.0":
        raise BadRequest("TPM model CRB is only valid with TPM version 2.0.", type="Invalid")


def _unique(flavor: Flavor, image: Mapping[str, str], key: str) -> str | None:
    """What flavor or image say, who must not say two things. Raises: BadRequest."""
    flavors, images = flavor.extra_specs.get(f"hw:{key}"), image.get(f"hw_{key}")
    if flavors and images and flavors != images:
        raise _conflict(flavor, key, flavors, images)
    return flavors or images


def _agreed(flavor: Flavor, image: Mapping[str, str], key: str) -> bool | None:
    """The same of what is on or off. Raises: BadRequest."""
    flavors, images = flavor.extra_specs.get(f"hw:{key}"), image.get(f"hw_{key}")
    if flavors is not None and images is not None and is_on(flavors) != is_on(images):
        raise _conflict(flavor, key, is_on(flavors), is_on(images))
    said = images if flavors is None else flavors
    return None if said is None else is_on(said)


def _conflict(flavor: Flavor, key: str, flavors: object, images: object) -> BadRequest:
    return BadRequest(
        f"Flavor {flavor.name} has hw:{key} extra spec explicitly set to {quoted(str(flavors))}, conflicting with the "
        f"image which has hw_{key} explicitly set to {quoted(str(images))}.",
        type="FlavorImageConflict",
    )


def _number(specs: Mapping[str, str], key: str) -> int:
    value = specs.get(key, "0")
    return int(value) if is_number(value) else 0
