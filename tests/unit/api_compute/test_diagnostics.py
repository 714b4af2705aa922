"""How a guest does, asked of its host; and what is noted of the use of servers: nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec

from deuteron.model.intent import Answer, DiskFigures, GuestFigures, NicFigures
from tests.unit.api_compute.harness import run, world
from tests.unit.api_compute.test_evacuations import started

C = "/compute/v2.1"
FIGURES = GuestFigures(
    "qemu", 262144, 131072, (17300000000,), {"rss": 174},
    (DiskFigures("vda", 112, 262144, 1, 512, -1),),
    (NicFigures("tap1", "fa:16:3e:00:00:01", 2070139, 26701, 1, 2, 140208, 662, 3, 4),),
)  # fmt: skip


def test_how_a_guest_does_is_asked_of_its_host_where_it_runs(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            agent.answers = lambda ask: Answer(ask.number, msgspec.json.encode(FIGURES).decode())
            server = await started(w)
            path = f"{C}/servers/{server}/diagnostics"
            old = await w.admin.get(path, "2.47")
            assert (old["cpu0_time"], old["memory"], old["memory-rss"]) == (17300000000, 262144, 174)
            assert [old[f"vda_{name}"] for name in ("read_req", "read", "write_req", "write", "errors")] == [
                112, 262144, 1, 512, -1,
            ]  # fmt: skip
            assert (old["tap1_rx"], old["tap1_rx_packets"], old["tap1_tx_drop"]) == (2070139, 26701, 4)
            new = await w.admin.get(path, "2.48")
            assert (new["state"], new["driver"], new["hypervisor"], new["hypervisor_os"]) == (
                "running", "libvirt", "qemu", "linux",
            )  # fmt: skip
            assert (new["num_cpus"], new["num_nics"], new["num_disks"], new["config_drive"]) == (1, 1, 1, False)
            assert new["memory_details"] == {"maximum": 256, "used": 128} and 0 <= new["uptime"] < 60
            assert new["cpu_details"] == [{"id": 0, "time": 17300000000, "utilisation": None}]
            assert new["disk_details"][0]["read_requests"] == 112
            assert (new["nic_details"][0]["tx_errors"], new["nic_details"][0]["tx_rate"]) == (3, None)

            agent.answers = lambda ask: Answer(ask.number, "in other words")
            misread = await w.admin.request("GET", path)
            assert (misread.status, "host h1" in misread.message) == (503, True)

            refused = await w.demo.request("GET", path)
            assert (refused.status, "os-server-diagnostics" in refused.message) == (403, True)
            agent.answers = lambda ask: Answer(ask.number, error="the guest has ended")
            refused = await w.admin.request("GET", path)
            assert (refused.status, "the guest has ended" in refused.message) == (409, True)
            assert (await w.demo.action(server, "os-stop")).status == 202
            await w.demo.until_status(server, "SHUTOFF")
            refused = await w.admin.request("GET", path)
            assert refused.status == 409
            assert refused.message == (
                f"Cannot 'get_diagnostics' instance {server} while it is in power state shutdown"
            )

    run(test())


def test_no_host_has_noted_what_servers_used(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            path = f"{C}/os-instance_usage_audit_log"
            shown = (await w.admin.get(path))["instance_usage_audit_logs"]
            assert (shown["num_hosts"], shown["num_hosts_done"], shown["hosts_not_run"]) == (1, 0, ["h1"])
            for moment, begin, end in (
                ("2026-03-01 00:00:00", "2026-01-01 00:00:00", "2026-02-01 00:00:00"),
                ("2026-01-20 12:00:00.5", "2025-12-01 00:00:00", "2026-01-01 00:00:00"),
            ):
                at = (await w.admin.get(f"{path}/{moment}"))["instance_usage_audit_log"]
                assert (at["period_beginning"], at["period_ending"]) == (begin, end)
            for moment in ("soon", "0001-01-01 00:00:00", "2026-13-01 00:00:00"):
                assert (await w.admin.request("GET", f"{path}/{moment}")).status == 400, moment
            assert (await w.demo.request("GET", path)).status == 403

    run(test())
