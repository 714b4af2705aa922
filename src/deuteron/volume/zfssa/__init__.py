"""The driver `zfssa`: volumes as LUNs of an Oracle ZFS Storage Appliance, which are reached by iSCSI."""

from deuteron.volume.zfssa.driver import ZfssaDriver
from deuteron.volume.zfssa.options import ZfssaOptions

open_driver = ZfssaDriver
"""What the entry point names."""

__all__ = ["ZfssaDriver", "ZfssaOptions", "open_driver"]
