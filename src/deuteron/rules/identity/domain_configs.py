"""Options of domains: kept, shown without their secrets, and changed as a whole, by group or one by one.

They change nothing else, as with Keystone unless its `domain_specific_drivers_enabled` is set: users are where they
are for all domains.

Source: keystone 30.0.0, keystone/resource/core.py `DomainConfigManager`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, select

from deuteron.model.codecs import quoted
from deuteron.model.domain_options import DEFAULTS, SECRET, Options
from deuteron.model.errors import Forbidden, NotFound
from deuteron.model.identity import DEFAULT_DOMAIN
from deuteron.model.scalars import DomainId
from deuteron.model.settings import SecurityCompliance
from deuteron.store.database import Tx
from deuteron.store.identity_tables import domain_configs

COMPLIANCE = "security_compliance"
"""The group of what everybody may read of the operator's rules for passwords."""


def create(tx: Tx, domain_id: str, config: object) -> tuple[Options, bool]:
    """What is kept in place of all that was, and whether there was nothing. Raises: Forbidden."""
    options = _require_options(config)
    is_new = not _kept(tx, domain_id)
    _keep(tx, domain_id, options)
    return _readable(options), is_new


def show(tx: Tx, domain_id: str, group: str | None, option: str | None) -> Mapping[str, object]:
    """All, a group, or an option. Raises: Forbidden for an unknown one; NotFound for one that is not set."""
    _refuse_unknown(group, option)
    found = _only(_readable(_kept(tx, domain_id)), group, option)
    if not found:
        raise _missing(domain_id, group, option)
    return _answer(found, group, option)


def update(tx: Tx, domain_id: str, config: object, group: str | None, option: str | None) -> Mapping[str, object]:
    """All that can be read of it then. Raises: Forbidden; NotFound for a group or option that is not set."""
    options = _require_options({group: config} if group and option else config)
    _refuse_unknown(group, option)
    kept = _kept(tx, domain_id)
    if group is not None:
        _refuse_others(options, group, option)
        if not _only(kept, group, option):
            raise _missing(domain_id, group, option)
    _keep(tx, domain_id, {name: {**kept.get(name, {}), **options.get(name, {})} for name in (*kept, *options)})
    return show(tx, domain_id, None, None)


def remove(tx: Tx, domain_id: str, group: str | None = None, option: str | None = None) -> None:
    """Raises: Forbidden; NotFound for a group or option that is not set."""
    _refuse_unknown(group, option)
    kept = _kept(tx, domain_id)
    if group is not None and not _only(kept, group, option):
        raise _missing(domain_id, group, option)
    left = {
        name: {each: value for each, value in options.items() if option is not None and each != option}
        if name == group
        else options
        for name, options in kept.items()
        if group is not None
    }
    _keep(tx, domain_id, left)


def default(group: str | None, option: str | None) -> Mapping[str, object]:
    """What holds where nothing is set. Raises: Forbidden for what nobody may read."""
    _refuse_unknown(group, option)
    if group is not None and option is not None and option not in DEFAULTS[group]:
        raise _invalid(f"Reading the default for option {option} in group {group} is not supported")
    return _answer(_only(DEFAULTS, group, option), group, option)


def compliance(rules: SecurityCompliance, domain_id: str, option: str | None) -> Mapping[str, object]:
    """The operator's rules for passwords, which are those of the default domain. Raises: Forbidden."""
    if DomainId(domain_id) != DEFAULT_DOMAIN:
        raise _invalid(
            "Reading security compliance information for any domain other than the default domain is not allowed or "
            "supported."
        )
    readable = {
        "password_regex": rules.password_regex,
        "password_regex_description": rules.password_regex_description,
    }
    if option is not None and option not in readable:
        raise _invalid(
            "Reading security compliance values other than password_regex and password_regex_description is not "
            "allowed."
        )
    return {COMPLIANCE: readable} if option is None else {option: readable[option]}


def _kept(tx: Tx, domain_id: str) -> Options:
    row = tx.first(select(domain_configs.c.options).where(domain_configs.c.domain_id == domain_id))
    kept: Options = {} if row is None else row.options
    return kept


def _keep(tx: Tx, domain_id: str, options: Options) -> None:
    tx.execute(delete(domain_configs).where(domain_configs.c.domain_id == domain_id))
    left = {group: dict(values) for group, values in options.items() if values}
    if left:
        tx.insert(domain_configs, {"domain_id": domain_id, "options": left})


def _readable(options: Options) -> Options:
    return {
        group: {name: value for name, value in values.items() if name not in SECRET[group]}
        for group, values in options.items()
        if values.keys() - SECRET[group]
    }


def _only(options: Options, group: str | None, option: str | None) -> Options:
    """What of it is in the group, and is the option."""
    if group is None:
        return options
    values = options.get(group, {})
    if option is not None:
        values = {option: values[option]} if option in values else {}
    return {group: values} if values else {}


def _answer(options: Options, group: str | None, option: str | None) -> Mapping[str, object]:
    return options[group] if group is not None and option is not None else options


def _require_options(config: object) -> dict[str, dict[str, object]]:
    """Raises: Forbidden for what holds nothing, or what Keystone does not keep."""
    if not config or not isinstance(config, dict):
        raise _invalid("No options specified")
    for group, values in config.items():
        if not values or not isinstance(values, dict):
            raise _invalid(f"The value of group {group} specified in the config should be a dictionary of options")
        for option in values:
            _refuse_unknown(group, option)
    return config


def _refuse_unknown(group: str | None, option: str | None) -> None:
    """Raises: Forbidden."""
    if group is None:
        return
    if group not in DEFAULTS:
        raise _invalid(f"Group {quoted(group)} is not supported for domain specific configurations")
    if option is not None and option not in DEFAULTS[group] and option not in SECRET[group]:
        raise _invalid(f"Option {quoted(option)} in group {group} is not supported for domain specific configurations")


def _refuse_others(options: Options, group: str, option: str | None) -> None:
    """Raises: Forbidden unless it is of that group, and of that option, alone."""
    if option is not None and list(options[group]) != [option]:
        raise _invalid(
            f"Trying to update option {option} in group {group}, so that, and only that, option must be specified in "
            "the config"
        )
    if list(options) != [group]:
        raise _invalid(f"Trying to update group {group}, so that, and only that, group must be specified in the config")


def _invalid(why: str) -> Forbidden:
    return Forbidden(f"Invalid domain specific configuration: {why}.", type="InvalidDomainConfig")


def _missing(domain_id: str, group: str | None, option: str | None) -> NotFound:
    what = (
        "any options" if group is None else f"group {group}" if option is None else f"option {option} in group {group}"
    )
    return NotFound(
        f"Could not find {what} in domain configuration for domain {domain_id}.", type="DomainConfigNotFound"
    )
