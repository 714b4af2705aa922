"""What volumes and snapshots take: of their projects' quotas and of their hosts, as sums that are kept (`store.usage`).

A volume counts from its first row to its last, with the size that it was last asked to have.
"""

from __future__ import annotations

from collections.abc import Mapping

from deuteron.rules.volume import faults, quotas
from deuteron.store import usage
from deuteron.store.database import Tx


def check(tx: Tx, project_id: str, type_id: str | None, what: str, *, count: int, gib: int) -> None:
    """Whether the project may have so many more of `what` ("volumes", "snapshots"), of so many GiB together.

    Raises: TooLarge.
    """
    own = {"gigabytes": gib, what: count}
    _check(tx, project_id, what, own)
    check_type(tx, project_id, type_id, count=count, gib=gib, what=what)
    largest = quotas.limits(tx, project_id)["per_volume_gigabytes"]
    if what == "volumes" and count and 0 <= largest < gib:
        raise faults.over_quota(
            f"VolumeSizeExceedsLimit: Requested volume size {gib}G is larger than maximum allowed limit {largest}G."
        )


def check_type(tx: Tx, project_id: str, type_id: str | None, *, count: int, gib: int, what: str = "volumes") -> None:
    """The same of what is counted for the type alone. Raises: TooLarge."""
    name = quotas.type_name(tx, type_id)
    if name is not None:
        _check(tx, project_id, what, {f"gigabytes_{name}": gib, f"{what}_{name}": count})


def _check(tx: Tx, project_id: str, what: str, asked: Mapping[str, int]) -> None:
    limits = quotas.limits(tx, project_id)
    have = quotas.used(tx, project_id, list(asked))
    for name, more in asked.items():
        limit = limits.get(name, -1)
        if more and 0 <= limit < have[name] + more:
            if name.startswith("gigabytes"):
                raise faults.over_quota(
                    f"VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed {name} quota. "
                    f"Requested {more}G, quota is {limit}G and {have[name]}G has been consumed."
                )
            kind = "VolumeLimitExceeded" if what == "volumes" else "SnapshotLimitExceeded"
            raise faults.over_quota(f"{kind}: Maximum number of {what} allowed ({limit}) exceeded for quota '{name}'.")


def count(tx: Tx, project_id: str, type_id: str | None, what: str, number: int, gib: int) -> None:
    """So many more of `what` ("volumes", "snapshots"), of so many GiB more together; negative ones went."""
    usage.add(tx, "project", project_id, {quotas.counted(what): number, quotas.counted("gigabytes"): gib})
    count_type(tx, project_id, type_id, number, gib, what)


def count_type(tx: Tx, project_id: str, type_id: str | None, number: int, gib: int, what: str = "volumes") -> None:
    """The same of what is counted for the type alone."""
    if type_id is not None:
        own = {quotas.counted(what, type_id): number, quotas.counted("gigabytes", type_id): gib}
        usage.add(tx, "project", project_id, own)


def check_backup(tx: Tx, project_id: str, gib: int) -> None:
    """Whether the project may have one more backup, of so many GiB. Raises: TooLarge."""
    limits = quotas.limits(tx, project_id)
    have = quotas.used(tx, project_id, ["backups", "backup_gigabytes"])
    if 0 <= limits["backup_gigabytes"] < have["backup_gigabytes"] + gib:
        raise faults.over_quota(
            "VolumeBackupSizeExceedsAvailableQuota: Requested backup exceeds allowed Backup gigabytes quota. Requested "
            f"{gib}G, quota is {limits['backup_gigabytes']}G and {have['backup_gigabytes']}G has been consumed."
        )
    if 0 <= limits["backups"] < have["backups"] + 1:
        raise faults.over_quota(
            f"BackupLimitExceeded: Maximum number of backups allowed ({limits['backups']}) exceeded"
        )


def count_backup(tx: Tx, project_id: str, number: int, gib: int) -> None:
    usage.add(tx, "project", project_id, {quotas.counted("backups"): number, quotas.counted("backup_gigabytes"): gib})


def check_groups(tx: Tx, project_id: str) -> None:
    """Whether the project may have one more group. Raises: TooLarge."""
    limit = quotas.limits(tx, project_id)["groups"]
    if 0 <= limit < quotas.used(tx, project_id, ["groups"])["groups"] + 1:
        raise faults.over_quota(f"GroupLimitExceeded: Maximum number of groups allowed ({limit}) exceeded")


def count_groups(tx: Tx, project_id: str, number: int) -> None:
    usage.add(tx, "project", project_id, {quotas.counted("groups"): number})


def count_on_service(tx: Tx, host: str | None, backend: str | None, gib: int) -> None:
    """So many GiB more that a back end of a host was asked to keep; nothing for what is nowhere."""
    if host is not None:
        usage.add(tx, "host", f"{host}@{backend}", {_ON_SERVICE: gib})


def on_services(tx: Tx) -> dict[str, int]:
    """GiB that each back end was asked to keep, as HOST@BACKEND."""
    return usage.amounts(tx, "host", _ON_SERVICE)


_ON_SERVICE = "volume gigabytes"
