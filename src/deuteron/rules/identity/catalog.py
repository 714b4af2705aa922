"""The service catalog: which services there are and where, as tokens and `/v3/auth/catalog` show it.

Endpoints of this cloud are stored with the address it listens on; a caller who reached the cloud under another
name (a forwarded port, a container's address) is shown that name instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from deuteron.rules.identity.endpoint_filters import shown_to
from deuteron.store.database import Tx
from deuteron.store.identity_tables import endpoints, services

_ENTRIES = (
    select(
        services.c.id.label("service_id"),
        services.c.type,
        services.c.name,
        endpoints.c.id,
        endpoints.c.interface,
        endpoints.c.region_id,
        endpoints.c.url,
    )
    .outerjoin(endpoints, (endpoints.c.service_id == services.c.id) & endpoints.c.enabled)
    .where(services.c.enabled)
    .order_by(services.c.type, services.c.id, endpoints.c.interface, endpoints.c.id)
)


def catalog(tx: Tx, own: str, base_url: str, user_id: str, project_id: str | None) -> list[dict[str, Any]]:
    """Every enabled service with its endpoints, addresses filled in for the project; what is filtered for it, alone.

    `own` is where the cloud listens, `base_url` where the caller reached it.
    """
    names = {"project_id": project_id, "tenant_id": project_id, "user_id": user_id}
    only = None if project_id is None else shown_to(tx, project_id)
    result: dict[str, dict[str, Any]] = {}
    for row in tx.all(_ENTRIES):
        if only is not None and row.id not in only:
            continue
        entry = result.setdefault(
            row.service_id, {"id": row.service_id, "type": row.type, "name": row.name or "", "endpoints": []}
        )
        if row.id is None:
            continue
        url = _filled(row.url, names)
        if url is None:
            continue
        if url == own or url.startswith(own + "/"):
            url = base_url + url[len(own) :]
        entry["endpoints"].append(
            {
                "id": row.id,
                "interface": row.interface,
                "region_id": row.region_id,
                "region": row.region_id,
                "url": url,
            }
        )
    return [entry for entry in result.values() if only is None or entry["endpoints"]]


def _filled(url: str, names: Mapping[str, str | None]) -> str | None:
    """The address with its variables filled in; None where the token has no value for one: Keystone leaves it out."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = names.get(match[1])
        if found is None:
            missing = True
        return found or ""

    filled = re.sub(r"[$%]\((\w+)\)s", value, url)
    return None if missing else filled
