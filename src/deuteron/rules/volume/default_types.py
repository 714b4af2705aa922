"""The type that volumes of a project have which name none, where an administrator set one.

Source: cinder/api/v3/default_types.py; cinder/volume/volume_types.py `get_default_volume_type`, `destroy`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, delete, select

from deuteron.model.errors import NotFound
from deuteron.store.database import Tx
from deuteron.store.volume_tables import default_types


def all_of_them(tx: Tx) -> Sequence[Row[*tuple[object, ...]]]:
    """By project."""
    return tx.all(select(default_types).order_by(default_types.c.project_id))


def of_project(tx: Tx, project_id: str | None) -> str | None:
    """The id of the type; None where nobody set one."""
    found: str | None = tx.scalar(
        select(default_types.c.volume_type_id).where(default_types.c.project_id == (project_id or ""))
    )
    return found


def find(tx: Tx, project_id: str) -> str:
    """Raises: NotFound."""
    found = of_project(tx, project_id)
    if found is None:
        raise NotFound(f"Default type for project {project_id} not found.", type="VolumeTypeProjectDefaultNotFound")
    return found


def put(tx: Tx, project_id: str, type_id: str) -> None:
    unset(tx, project_id)
    tx.insert(default_types, {"project_id": project_id, "volume_type_id": type_id})


def unset(tx: Tx, project_id: str) -> None:
    """Where none is set, that is no error."""
    tx.execute(delete(default_types).where(default_types.c.project_id == project_id))


def is_any(tx: Tx, type_id: str) -> bool:
    """Whether it is the type of some project."""
    statement = select(default_types.c.project_id).where(default_types.c.volume_type_id == type_id)
    return tx.first(statement.limit(1)) is not None
