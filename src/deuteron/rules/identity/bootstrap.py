"""What a cloud's identity starts with. Safe to run at every start: what is there is left as it is.

The passwords of `admin` and `demo` follow the settings: when those change, so do the passwords; when an operator
changes one through the API, it stays, until the settings change again.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from deuteron.model.identity import DEFAULT_DOMAIN, IMPLIED_ROLES
from deuteron.model.settings import Settings
from deuteron.rules.identity.endpoints import make_region
from deuteron.rules.identity.grants import Place, add_grant
from deuteron.rules.identity.passwords import hash_password, verify_password
from deuteron.rules.identity.projects import add_domain, add_project, ids_named
from deuteron.rules.identity.rows import new_id
from deuteron.rules.identity.users import change_user, create_user, user_named
from deuteron.store.database import Tx
from deuteron.store.identity_tables import (
    endpoints,
    implied_roles,
    projects,
    roles,
    services,
    state,
    tokens_may_change,
)

SERVICES: tuple[tuple[str, str, str], ...] = (
    ("identity", "keystone", "/identity"),
    ("network", "neutron", "/network"),
    ("compute", "nova", "/compute/v2.1"),
    ("image", "glance", "/image"),
    ("placement", "placement", "/placement"),
    ("block-storage", "cinder", "/volume/v3"),
    ("volumev3", "cinderv3", "/volume/v3/$(project_id)s"),
)
"""Type, name, and path of each service of the catalog. Block Storage has an older type that clients still look for."""


def bootstrap(tx: Tx, settings: Settings) -> None:
    """The domain, roles, projects, users, assignments and catalog of a new cloud."""
    if tx.first(select(projects.c.id).where(projects.c.id == DEFAULT_DOMAIN)) is None:
        add_domain(
            tx, DEFAULT_DOMAIN, {"name": "Default", "description": "The default domain", "enabled": True, "extra": {}}
        )
    role_ids = {name: _role(tx, name) for name in ("admin", "manager", "member", "reader", "service")}
    for prior, implied in IMPLIED_ROLES:
        _implied(tx, role_ids[prior], role_ids[implied])
    project_ids = {name: _project(tx, name) for name in ("admin", "demo", "service")}
    admin = _user(tx, "admin", settings.admin_password)
    demo = _user(tx, "demo", settings.demo_password)
    for user, place, role in (
        (admin, ("project", project_ids["admin"]), "admin"),
        (admin, ("project", project_ids["demo"]), "admin"),
        (admin, ("system",), "admin"),
        (demo, ("project", project_ids["demo"]), "member"),
    ):
        add_grant(tx, Place("user", user, *place), role_ids[role])
    make_region(tx, settings.region)
    for type_, name, path in SERVICES:
        _service(tx, settings, type_, name, f"http://{settings.host}:{settings.port}{path}")


def _role(tx: Tx, name: str) -> str:
    found = tx.scalar(select(roles.c.id).where(roles.c.name == name, roles.c.domain_id.is_(None)))
    if found is not None:
        return str(found)
    id = new_id()
    tx.insert(roles, {"id": id, "name": name, "domain_id": None, "description": None, "options": {}, "extra": {}})
    tx.changed("role", id)
    return id


def _implied(tx: Tx, prior_id: str, implied_id: str) -> None:
    # Only once: an operator may have taken the rule away.
    mark = f"implied {prior_id} {implied_id}"
    if tx.first(select(state.c.name).where(state.c.name == mark)) is not None:
        return
    tx.insert(implied_roles, {"prior_role_id": prior_id, "implied_role_id": implied_id})
    tx.insert(state, {"name": mark, "number": 1, "text": None})
    tokens_may_change(tx)


def _project(tx: Tx, name: str) -> str:
    for id in ids_named(tx, name, DEFAULT_DOMAIN):
        return id
    values: dict[str, Any] = {
        "name": name,
        "domain_id": DEFAULT_DOMAIN,
        "parent_id": DEFAULT_DOMAIN,
        "description": "",
        "enabled": True,
        "is_domain": False,
        "extra": {},
    }
    return str(add_project(tx, values)["id"])


def _user(tx: Tx, name: str, password: str) -> str:
    mark = f"password {name}"
    given = tx.scalar(select(state.c.text).where(state.c.name == mark))
    row = user_named(tx, name, DEFAULT_DOMAIN)
    if row is not None and given is not None and verify_password(password, given):
        return str(row["id"])
    hashed = hash_password(password)
    if row is None:
        row = create_user(
            tx, {"name": name, "domain_id": DEFAULT_DOMAIN, "enabled": True, "password_hash": hashed, "extra": {}}
        )
    else:
        change_user(tx, row, {"password_hash": hashed})
    if given is None:
        tx.insert(state, {"name": mark, "number": 0, "text": hashed})
    else:
        tx.execute(update(state).where(state.c.name == mark).values(text=hashed))
    return str(row["id"])


def _service(tx: Tx, settings: Settings, type_: str, name: str, url: str) -> None:
    """The service with its three endpoints; their address follows the settings."""
    service_id = tx.scalar(select(services.c.id).where(services.c.type == type_, services.c.name == name))
    if service_id is None:
        service_id = new_id()
        tx.insert(
            services,
            {"id": service_id, "type": type_, "name": name, "description": None, "enabled": True, "extra": {}},
        )
    for interface in ("public", "internal", "admin"):
        mine = (
            (endpoints.c.service_id == service_id)
            & (endpoints.c.interface == interface)
            & (endpoints.c.region_id == settings.region)
        )
        if tx.first(select(endpoints.c.id).where(mine)) is None:
            tx.insert(
                endpoints,
                {
                    "id": new_id(),
                    "service_id": service_id,
                    "interface": interface,
                    "region_id": settings.region,
                    "url": url,
                    "enabled": True,
                    "extra": {},
                },
            )
        else:
            tx.execute(update(endpoints).where(mine).values(url=url))
