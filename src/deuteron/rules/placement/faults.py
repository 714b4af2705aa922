"""The errors of Placement that have a code of their own; it is the `type` of an error.

Source: placement/errors.py.
"""

from __future__ import annotations

from typing import Final

from deuteron.model.errors import Conflict

CONCURRENT: Final = "placement.concurrent_update"
IN_USE: Final = "placement.inventory.inuse"
DUPLICATE_NAME: Final = "placement.duplicate_name"
PROVIDER_IN_USE: Final = "placement.resource_provider.inuse"
PARENT: Final = "placement.resource_provider.cannot_delete_parent"
NO_PROVIDER: Final = "placement.resource_provider.not_found"
DUPLICATE_KEY: Final = "placement.query.duplicate_key"
BAD_VALUE: Final = "placement.query.bad_value"
MISSING_VALUE: Final = "placement.query.missing_value"


class InUse(Conflict):
    """An inventory that should go has allocations."""

    def __init__(self, provider_id: str, classes: str) -> None:
        super().__init__(f"Inventory for '{classes}' on resource provider '{provider_id}' in use.", type=IN_USE)
