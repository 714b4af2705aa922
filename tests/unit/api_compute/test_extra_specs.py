"""Which extra specs flavors may have, from the microversion on that looks."""

from __future__ import annotations

from pathlib import Path

from tests.unit.api_compute.harness import run, world

C = "/compute/v2.1"
SPECS = f"{C}/flavors/42/os-extra_specs"

GOOD = (
    ("hw:cpu_policy", "shared"), ("hw:cpu_sockets", "2"), ("hw:mem_page_size", "2MB"), ("hw:boot_menu", "Yes"),
    ("hw:numa_cpus.0", "0-1,^1"), ("hw:watchdog_action", "disabled"), ("hw_rng:rate_bytes", 2048),
    ("quota:disk_read_iops_sec", "100"), ("quota:vif_inbound_peak", "0"), ("quota:cpu_quota", "-1"),
    ("resources:VCPU", "1"), ("resources_a-1:CUSTOM_GOLD", "0"), ("trait1:HW_CPU_X86_AVX2", "forbidden"),
    ("trait:CUSTOM_FAST", "required"), ("group_policy", "none"), ("capabilities:cpu_info:vendor", "Intel"),
    ("aggregate_instance_extra_specs:ssd", "true"), ("free", "as a bird"), ("mine:anything", "at all"),
    ("pci_passthrough:alias", "nic:1, gpu:2"),
)  # fmt: skip
BAD = (
    ("hw:cpu_policy", "sharedd", "'sharedd' is not one of: dedicated, shared, mixed."),
    ("hw:cpu_policyy", "shared", "extra spec 'hw:cpu_policyy' does not appear to be a valid extra spec."),
    ("hw:cpu_sockets", "0", "'0' is less than the min value of '1'."),
    ("hw:cpu_cores", "two", "'two' is not a valid integer value."),
    ("hw:redirected_usb_ports", "16", "'16' is greater than the max value of '15'."),
    ("hw:boot_menu", "perhaps", "'perhaps' is not a valid boolean-like value."),
    ("hw:mem_page_size", "huge", "'huge' is not of the format '(large|small|any|\\d+([kKMGT]i?)?(b|bit|B)?)'."),
    ("hw:numa_cpus.x", "0", "extra spec 'hw:numa_cpus.x' does not appear to be a valid extra spec."),
    ("hw:cpu_dedicated_mask", "0," * 120, None),
    ("hw:pmem", "a" * 250 + "!", None),
    ("trait:NO_SUCH", "required", "extra spec 'trait:NO_SUCH' does not appear to be a valid extra spec."),
    ("trait:HW_CPU_X86_AVX2", "preferred", "'preferred' is not one of: required, forbidden."),
    ("resources:GOLD", "1", "extra spec 'resources:GOLD' does not appear to be a valid extra spec."),
    ("group_policy", "both", "'both' is not one of: isolate, none."),
    ("quota:cpu_sharez", "1", "extra spec 'quota:cpu_sharez' does not appear to be a valid extra spec."),
)


def test_what_nova_knows_is_taken_and_what_it_does_not_in_its_own_namespaces_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for key, value in GOOD:
                body = {"extra_specs": {key: value}}
                assert (await w.admin.request("POST", SPECS, body, version="2.86")).status == 200, key
                assert (await w.admin.request("PUT", f"{SPECS}/{key}", {key: value}, version="2.86")).status == 200, key
            for key, value, why in BAD:
                asked = (("POST", SPECS, {"extra_specs": {key: value}}), ("PUT", f"{SPECS}/{key}", {key: value}))
                for method, path, body in asked:
                    refused = await w.admin.request(method, path, body, version="2.86")
                    assert refused.status == 400, key
                    assert refused.message.startswith("Validation failed; "), key
                    assert why is None or refused.message == f"Validation failed; {why}"
            kept = (await w.admin.get(SPECS))["extra_specs"]
            assert kept == {key: str(value) for key, value in GOOD}

    run(test())


def test_before_2_86_nothing_looks(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for key, value, _ in BAD:
                body = {"extra_specs": {key: value}}
                assert (await w.admin.request("POST", SPECS, body, version="2.85")).status == 200, key

    run(test())
