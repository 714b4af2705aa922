"""All tables of the cloud: importing this module registers each service's tables in `metadata`."""

from __future__ import annotations

import importlib

from deuteron.store.schema import metadata

SERVICES = ("identity", "network", "image", "volume", "compute", "hosts", "placement")

for _service in SERVICES:
    importlib.import_module(f"deuteron.store.{_service}_tables")
for _sums in ("lowest", "usage"):
    importlib.import_module(f"deuteron.store.{_sums}")

__all__ = ["metadata"]
