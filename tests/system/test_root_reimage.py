"""A server that boots from a volume is rebuilt with another image: its disk is new, and the volume the same."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from tests.clouds import Cloud, running, wait_for

ONCE = "#!/bin/sh\necho 'first boot' >/dev/console\n"
"""A guest runs it once on a disk, and says so."""


def said(cloud: Cloud, server: Any) -> int:
    """How often the guest said that its disk is new."""
    log = f"{cloud.state}/hosts/aio/instances/{server.id}/console.log"
    return int(cloud.on("aio", f"grep -ac '^first boot' {log}", check=False).strip() or 0)


def test_a_root_volume_gets_another_image(tmp_path: Path) -> None:
    with running() as cloud:
        demo = cloud.connect()
        network = demo.network.create_network(name="n1")
        demo.network.create_subnet(network_id=network.id, name="s1", cidr="10.84.0.0/24", ip_version=4)
        image = demo.image.find_image("tiny-disk", ignore_missing=False)
        device = {"boot_index": 0, "source_type": "image", "destination_type": "volume", "volume_size": 1}
        server = demo.compute.create_server(
            name="phoenix",
            flavor_id=demo.compute.find_flavor("m1.nano", ignore_missing=False).id,
            networks=[{"uuid": network.id}],
            block_device_mapping=[{**device, "uuid": image.id}],
            user_data=base64.b64encode(ONCE.encode()).decode(),
        )
        wait_for("it boots", lambda: said(cloud, server), lambda count: count == 1, timeout_s=120)
        (held,) = demo.compute.volume_attachments(server)
        demo.compute.reboot_server(server, "HARD")
        copy = tmp_path / "other"
        cloud.openstack(f"image save --file {copy} tiny-disk")
        other = cloud.ask(f"image create --file {copy} --disk-format {image.disk_format} other")["id"]
        rebuild = f"server rebuild --reimage-boot-volume --image {other} --wait phoenix"
        cloud.openstack(f"--os-compute-api-version 2.93 {rebuild}")
        wait_for("it boots from it", lambda: said(cloud, server), lambda count: count == 2, timeout_s=120)
        found = demo.block_storage.get_volume(held.volume_id)
        assert (found.status, found.volume_image_metadata["image_id"]) == ("in-use", other)
