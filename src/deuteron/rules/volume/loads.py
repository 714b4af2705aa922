"""What volumes and snapshots take: of their projects' quotas and of their hosts, as sums that are kept (`store.usage`).

A volume counts from its first row to its last, with the size that it was last asked to have.
"""

from __future__ import annotations

from deuteron.rules.volume import faults, quotas
from deuteron.store import usage
from deuteron.store.database import Tx


def check(tx: Tx, project_id: str, type_id: str | None, what: str, *, count: int, gib: int) -> None:
    """Whether the project may have so many more of `what` ("volumes", "snapshots"), of so many GiB together.

    Raises: TooLarge.
    """
    limits = quotas.limits(tx, project_id)
    type_name = quotas.type_name(tx, type_id)
    own = [("gigabytes", gib), (what, count)]
    asked = [*own, *((f"{name}_{type_name}", more) for name, more in own if type_name is not None)]
    have = quotas.used(tx, project_id, [name for name, _ in asked])
    for name, more in asked:
        limit = limits.get(name, -1)
        if more and 0 <= limit < have[name] + more:
            if name.startswith("gigabytes"):
                raise faults.over_quota(
                    f"VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed {name} quota. "
                    f"Requested {more}G, quota is {limit}G and {have[name]}G has been consumed."
                )
            kind = "VolumeLimitExceeded" if what == "volumes" else "SnapshotLimitExceeded"
            raise faults.over_quota(f"{kind}: Maximum number of {what} allowed ({limit}) exceeded for quota '{name}'.")
    largest = limits["per_volume_gigabytes"]
    if what == "volumes" and count and 0 <= largest < gib:
        raise faults.over_quota(
            f"VolumeSizeExceedsLimit: Requested volume size {gib}G is larger than maximum allowed limit {largest}G."
        )


def count(tx: Tx, project_id: str, type_id: str | None, what: str, number: int, gib: int) -> None:
    """So many more of `what` ("volumes", "snapshots"), of so many GiB more together; negative ones went."""
    own = {what: number, "gigabytes": gib}
    counted = {quotas.counted(name): more for name, more in own.items()}
    if type_id is not None:
        counted |= {quotas.counted(name, type_id): more for name, more in own.items()}
    usage.add(tx, "project", project_id, counted)


def count_on_host(tx: Tx, host: str | None, gib: int) -> None:
    if host is not None:
        usage.add(tx, "host", host, {_ON_HOST: gib})


def on_hosts(tx: Tx) -> dict[str, int]:
    """GiB that each host was asked to keep."""
    return usage.amounts(tx, "host", _ON_HOST)


_ON_HOST = "volume gigabytes"
