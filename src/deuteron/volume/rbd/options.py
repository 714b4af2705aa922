"""What a back end on Ceph may say: by Cinder's names, but for `rbd_key`.

Source: openstack/cinder cinder/volume/drivers/rbd.py, `RBD_OPTS`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]


class RbdOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every one acts; what would not is refused."""

    rbd_pool: Name = "rbd"
    """It is there already. Names of the driver's images and objects in it belong to one back end of one cloud."""
    rbd_user: Name = "admin"
    """Without `client.`."""
    rbd_ceph_conf: Annotated[str, msgspec.Meta(pattern=r"^/[^\x00-\x1f]{1,4000}$")] = "/etc/ceph/ceph.conf"
    """Where each host that carries the back end finds the monitors, and the user's key unless `rbd_key` is it."""
    rbd_key: Annotated[str, msgspec.Meta(pattern=r"^(|[A-Za-z0-9+/]{20,200}={0,2})$")] = ""
    """The user's key, as `ceph auth get-key` prints it."""
    rbd_flatten_volume_from_snapshot: bool = False
    """Whether a volume that is made of a snapshot gets all data at once, and does not need it any more."""
    rbd_max_clone_depth: Annotated[int, msgspec.Meta(ge=0, le=16)] = 5
    """How many volumes may stand on each other, each a copy of the one below: what comes above gets all data."""
    rbd_store_chunk_size: Literal[1, 2, 4, 8, 16, 32] = 4
    """MiB of each object of a new image."""
    rados_connect_timeout: Annotated[int, msgspec.Meta(ge=1, le=600)] = 30
    """Seconds that the cluster has for an answer; then it is away."""

    @property
    def order(self) -> int:
        """The size of objects, as a power of two."""
        return (self.rbd_store_chunk_size << 20).bit_length() - 1
