"""Every kind of intent object, one module each: when it is on a host, what makes it dirty, how it is built."""

from __future__ import annotations

from deuteron.hub.projections import (
    address_group,
    cached_image,
    group_member,
    log,
    network,
    peer,
    port,
    qos_policy,
    remote_port,
    router,
    security_group,
    server,
    volume,
)
from deuteron.hub.projections.contract import Projection

PROJECTIONS: dict[str, Projection] = {
    projection.kind: projection
    for projection in (
        peer.PROJECTION,
        qos_policy.PROJECTION,
        network.PROJECTION,
        security_group.PROJECTION,
        group_member.PROJECTION,
        address_group.PROJECTION,
        log.PROJECTION,
        port.PROJECTION,
        remote_port.PROJECTION,
        router.PROJECTION,
        server.PROJECTION,
        volume.VOLUMES,
        volume.SNAPSHOTS,
        volume.BACKUPS,
        cached_image.PROJECTION,
    )
}
