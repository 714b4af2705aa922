"""Properties of images that say what guests are made of: their types, which Nova looks at when a server is asked for.

Source: nova/objects/image_meta.py, nova/objects/fields.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest

_BUSES: Final = ("fdc", "ide", "sata", "scsi", "usb", "virtio", "xen", "lxc", "uml")
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "hw_cdrom_bus": _BUSES,
    "hw_cpu_policy": ("dedicated", "shared", "mixed"),
    "hw_cpu_thread_policy": ("prefer", "isolate", "require"),
    "hw_disk_bus": _BUSES,
    "hw_ephemeral_encryption_format": ("plain", "luks", "luksv2"),
    "hw_firmware_type": ("uefi", "bios"),
    "hw_floppy_bus": _BUSES,
    "hw_input_bus": ("usb", "virtio"),
    "hw_mem_encryption_model": ("amd-sev", "amd-sev-es", "amd-sev-snp", "intel-tdx"),
    "hw_pci_numa_affinity_policy": ("legacy", "preferred", "required", "socket"),
    "hw_pointer_model": ("usbtablet",),
    "hw_rescue_bus": _BUSES,
    "hw_rescue_device": ("cdrom", "disk", "floppy", "fs", "lun"),
    "hw_rng_model": ("virtio",),
    "hw_scsi_model": (
        "buslogic", "ibmvscsi", "lsilogic", "lsisas1068", "lsisas1078", "virtio-scsi", "vmpvscsi", "lsilogicsas",
        "paravirtual",
    ),
    "hw_sound_model": ("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"),
    "hw_tpm_model": ("tpm-tis", "tpm-crb"),
    "hw_tpm_version": ("1.2", "2.0"),
    "hw_usb_model": ("none", "nec-xhci", "qemu-xhci"),
    "hw_video_model": ("cirrus", "qxl", "vga", "vmvga", "xen", "virtio", "gop", "none", "bochs"),
    "hw_vif_model": (
        "virtio", "ne2k_pci", "pcnet", "rtl8139", "e1000", "e1000e", "netfront", "spapr-vlan", "lan9118", "sriov",
        "vmxnet", "vmxnet3", "igb", "virtuale1000", "virtuale1000e", "virtualpcnet32", "virtualsriovethernetcard",
        "virtualvmxnet", "virtualvmxnet3",
    ),
    "hw_viommu_model": ("intel", "smmuv3", "virtio", "auto"),
    "hw_watchdog_action": ("none", "pause", "poweroff", "reset", "disabled"),
    "os_secure_boot": ("required", "disabled", "optional"),
    "os_type": ("linux", "windows"),
}  # fmt: skip
_LEGACY: Final = {
    "virtuale1000": "e1000",
    "virtuale1000e": "e1000e",
    "virtualpcnet32": "pcnet",
    "virtualsriovethernetcard": "sriov",
    "virtualvmxnet": "vmxnet",
    "virtualvmxnet3": "vmxnet3",
}
"""Older names of network cards."""
_FOLDED: Final = frozenset({"hw_vif_model", "hw_scsi_model", "hw_disk_bus", "hw_cdrom_bus"})
NUMBERS: Final = frozenset(
    {
        "hw_cpu_cores", "hw_cpu_sockets", "hw_cpu_threads", "hw_cpu_max_cores", "hw_cpu_max_sockets",
        "hw_cpu_max_threads", "hw_device_id", "hw_numa_nodes", "hw_redirected_usb_ports", "hw_serial_port_count",
        "hw_video_ram", "img_compression_level", "img_version",
    }
)  # fmt: skip
"""Those that are whole numbers."""
_OLD_NAMES: Final = {"architecture": "hw_architecture", "hypervisor_type": "img_hv_type", "vm_mode": "hw_vm_mode"}
SHOWN: Final = frozenset(
    {
        "architecture", "auto_disk_config", "bdm_v2", "bittorrent", "block_device_mapping", "cache_in_nova",
        "hw_architecture", "hw_auto_disk_config", "hw_boot_menu", "hw_cdrom_bus", "hw_cpu_cores", "hw_cpu_max_cores",
        "hw_cpu_max_sockets", "hw_cpu_max_threads", "hw_cpu_policy", "hw_cpu_realtime_mask", "hw_cpu_sockets",
        "hw_cpu_thread_policy", "hw_cpu_threads", "hw_device_id", "hw_disk_bus", "hw_disk_type",
        "hw_emulation_architecture", "hw_ephemeral_encryption", "hw_ephemeral_encryption_format",
        "hw_ephemeral_encryption_secret_uuid", "hw_firmware_stateless", "hw_firmware_type", "hw_floppy_bus",
        "hw_input_bus", "hw_ipxe_boot", "hw_locked_memory", "hw_machine_type", "hw_maxphysaddr_bits",
        "hw_maxphysaddr_mode", "hw_mem_encryption", "hw_mem_encryption_model", "hw_mem_page_size", "hw_numa_cpus",
        "hw_numa_mem", "hw_numa_nodes", "hw_pci_numa_affinity_policy", "hw_pmu", "hw_pointer_model",
        "hw_qemu_guest_agent", "hw_redirected_usb_ports", "hw_rescue_bus", "hw_rescue_device", "hw_rng_model",
        "hw_scsi_model", "hw_serial_port_count", "hw_sound_model", "hw_time_hpet", "hw_tpm_model", "hw_tpm_version",
        "hw_usb_model", "hw_video_model", "hw_video_ram", "hw_vif_model", "hw_vif_multiqueue_enabled",
        "hw_viommu_model", "hw_virtio_packed_ring", "hw_vm_mode", "hw_watchdog_action", "hypervisor_type",
        "hypervisor_version_requires", "img_bdm_v2", "img_bittorrent", "img_block_device_mapping",
        "img_cache_in_nova", "img_compression_level", "img_config_drive", "img_hide_hypervisor_id",
        "img_hv_requested_version", "img_hv_type", "img_linked_clone", "img_mappings", "img_owner_id",
        "img_root_device_name", "img_signature", "img_signature_certificate_uuid", "img_signature_hash_method",
        "img_signature_key_type", "img_use_agent", "img_version", "ipxe_boot", "mappings", "os_admin_user",
        "os_command_line", "os_distro", "os_require_quiesce", "os_secure_boot", "os_skip_agent_inject_files_at_boot",
        "os_skip_agent_inject_ssh", "os_type", "owner_id", "root_device_name", "traits_required", "vm_mode",
        "vmware_disktype", "vmware_image_version", "vmware_linked_clone", "vmware_ostype", "xenapi_device_id",
        "xenapi_image_compression_level", "xenapi_skip_agent_inject_files_at_boot", "xenapi_skip_agent_inject_ssh",
        "xenapi_use_agent",
    }
)  # fmt: skip
"""Those that Nova knows, by their names of now or of before: since 2.98 a server shows them of its image."""
_TRAIT: Final = "trait:"
_MOST_DIGITS: Final = 18


def checked(properties: Mapping[str, str]) -> Mapping[str, str]:
    """The properties under their newer names, each a value of its type. Raises: BadRequest."""
    found = {_OLD_NAMES.get(name, name): value for name, value in properties.items()}
    for name, value in found.items():
        if name in _FOLDED:
            found[name] = value = value.lower()
        if name in _WORDS and value not in _WORDS[name]:
            raise _wrong(f"Field value {quoted(value)} is invalid")
        if name in NUMBERS and not is_number(value):
            raise _wrong(f"invalid literal for int() with base 10: '{quoted(value)}'")
    if "hw_vif_model" in found:
        found["hw_vif_model"] = _LEGACY.get(found["hw_vif_model"], found["hw_vif_model"])
    return found


def is_number(value: str) -> bool:
    """Whether it is a whole number of a size that anything has."""
    digits = value.strip().removeprefix("-")
    return digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS


def traits(properties: Mapping[str, str]) -> list[str]:
    """What the image asks its host to be."""
    return sorted(
        name.removeprefix(_TRAIT)
        for name, value in properties.items()
        if name.startswith(_TRAIT) and value == "required"
    )


def _wrong(why: str) -> BadRequest:
    return BadRequest(f"Invalid image metadata. Error: {why}", type="InvalidRequest")
