"""The driver `rbd`: volumes as images of a Ceph cluster."""

from deuteron.volume.rbd.driver import RbdDriver
from deuteron.volume.rbd.options import RbdOptions

open_driver = RbdDriver
"""What the entry point names."""

__all__ = ["RbdDriver", "RbdOptions", "open_driver"]
