"""The requests at `/v3/domains/{id}/config`: options of a domain, and what holds where none is set."""

from __future__ import annotations

from deuteron.api.call import Call, Reply
from deuteron.api.identity.policies import require
from deuteron.model.errors import BadRequest
from deuteron.rules.identity import domain_configs
from deuteron.rules.identity.projects import find_domain
from deuteron.store.database import Tx


def create_config(call: Call, tx: Tx) -> Reply:
    require(call, "create_domain_config")
    domain = find_domain(tx, call.params["id"])
    config, is_new = domain_configs.create(tx, domain["id"], _config(call))
    return Reply(201 if is_new else 200, {"config": config})


def show_config(call: Call, tx: Tx) -> Reply:
    """Of the rules for passwords, whose group is the operator's, everybody may read those that passwords meet."""
    group, option = _place(call)
    if group == domain_configs.COMPLIANCE:
        require(call, "get_security_compliance_domain_config")
        rules = call.settings.operator.security_compliance
        found = domain_configs.compliance(rules, call.params["id"], option)
        find_domain(tx, call.params["id"])
        return Reply(200, {"config": found})
    require(call, "get_domain_config")
    domain = find_domain(tx, call.params["id"])
    return Reply(200, {"config": domain_configs.show(tx, domain["id"], group, option)})


def update_config(call: Call, tx: Tx) -> Reply:
    require(call, "update_domain_config")
    domain = find_domain(tx, call.params["id"])
    return Reply(200, {"config": domain_configs.update(tx, domain["id"], _config(call), *_place(call))})


def delete_config(call: Call, tx: Tx) -> Reply:
    require(call, "delete_domain_config")
    domain = find_domain(tx, call.params["id"])
    domain_configs.remove(tx, domain["id"], *_place(call))
    return Reply(204)


def show_default(call: Call, tx: Tx) -> Reply:
    require(call, "get_domain_config_default")
    return Reply(200, {"config": domain_configs.default(*_place(call))})


def _place(call: Call) -> tuple[str | None, str | None]:
    return call.params.get("group"), call.params.get("option")


def _config(call: Call) -> object:
    """Raises: BadRequest for a body that is no object."""
    body = call.json()
    if not isinstance(body, dict):
        raise BadRequest("Expecting to find config in request body.", type="ValidationError")
    return body.get("config")
