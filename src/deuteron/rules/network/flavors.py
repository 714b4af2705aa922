"""Flavors and their profiles, and which kind of router a flavor stands for.

As in Neutron, the profile with the lowest id decides: its driver is one of a provider, which makes routers of one kind.
That a flavor is not enabled keeps nobody from using it; that a profile is not, does.

Source: neutron/db/flavors_db.py; neutron/services/l3_router/service_providers/driver_controller.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.network import FLAVOR, SERVICE_PROFILE
from deuteron.model.network.rows import NetworkFlavorRow, RouterRow, ServiceProfileRow
from deuteron.model.settings import Settings
from deuteron.rules.network import faults
from deuteron.rules.network.kinds import Kind, add, change, find, remove
from deuteron.store.database import Tx
from deuteron.store.network_tables import routers, table_of
from deuteron.store.query import Values

_flavors = table_of(FLAVOR)

SERVICE_TYPE: Final = "L3_ROUTER_NAT"
"""The one service that has providers."""


@dataclass(frozen=True)
class Provider:
    """Who makes routers of a kind."""

    name: str
    driver: str
    distributed: bool
    ha: bool


_DRIVERS: Final = "neutron.services.l3_router.service_providers"
PROVIDERS: Final = (
    Provider("dvrha", f"{_DRIVERS}.dvrha.DvrHaDriver", distributed=True, ha=True),
    Provider("dvr", f"{_DRIVERS}.dvr.DvrDriver", distributed=True, ha=False),
    Provider("ha", f"{_DRIVERS}.ha.HaDriver", distributed=False, ha=True),
    Provider("single_node", f"{_DRIVERS}.single_node.SingleNodeDriver", distributed=False, ha=False),
)
"""In the order in which Neutron lists them. Profiles that were written for Neutron name its drivers."""


def create_flavor(tx: Tx, settings: Settings, caller: Caller, values: Values) -> NetworkFlavorRow:
    """A flavor without profiles. Raises: BadRequest for profiles."""
    return add(tx, FLAVOR, {**_whole(values), "service_profiles": []})


def update_flavor(
    tx: Tx, settings: Settings, caller: Caller, row: NetworkFlavorRow, values: Values
) -> NetworkFlavorRow:
    """Raises: BadRequest for profiles."""
    return change(tx, FLAVOR, row, _whole(values))


def delete_flavor(tx: Tx, settings: Settings, caller: Caller, row: NetworkFlavorRow) -> None:
    """Its profiles stay. Raises: Conflict while a router is of it."""
    if tx.first(select(routers.c.id).where(routers.c.flavor_id == row["id"]).limit(1)) is not None:
        raise faults.conflict("FlavorInUse", f"Flavor {row['id']} is used by some service instance.")
    remove(tx, FLAVOR, row["id"])


def create_profile(tx: Tx, settings: Settings, caller: Caller, values: Values) -> ServiceProfileRow:
    """Raises: NotFound for a driver that no provider has; BadRequest for a profile that says nothing."""
    _refuse_driver(values)
    if not values["driver"] and not values["metainfo"]:
        raise faults.refused("ServiceProfileEmpty", "Service Profile needs either a driver or metainfo.")
    return add(tx, SERVICE_PROFILE, _whole(values))


def update_profile(
    tx: Tx, settings: Settings, caller: Caller, row: ServiceProfileRow, values: Values
) -> ServiceProfileRow:
    """Raises: NotFound for a driver that no provider has; Conflict while a flavor has the profile."""
    _refuse_driver(values)
    _refuse_use(tx, row["id"])
    return change(tx, SERVICE_PROFILE, row, _whole(values))


def delete_profile(tx: Tx, settings: Settings, caller: Caller, row: ServiceProfileRow) -> None:
    """Raises: Conflict while a flavor has it."""
    _refuse_use(tx, row["id"])
    remove(tx, SERVICE_PROFILE, row["id"])


def associate(tx: Tx, flavor: NetworkFlavorRow, profile_id: str) -> NetworkFlavorRow:
    """The flavor with one profile more. Raises: Conflict for one that it has; NotFound for one that is not there."""
    if profile_id in flavor["service_profiles"]:
        raise faults.conflict(
            "FlavorServiceProfileBindingExists",
            f"Service Profile {profile_id} is already associated with flavor {flavor['id']}.",
        )
    if find(tx, SERVICE_PROFILE, profile_id) is None:
        raise faults.not_found(SERVICE_PROFILE.name, profile_id)
    return change(tx, FLAVOR, flavor, {"service_profiles": sorted([*flavor["service_profiles"], profile_id])})


def dissociate(tx: Tx, flavor: NetworkFlavorRow, profile_id: str) -> None:
    """Take a profile from a flavor. Raises: NotFound for one that it does not have."""
    refuse_other(flavor, profile_id)
    left = [each for each in flavor["service_profiles"] if each != profile_id]
    change(tx, FLAVOR, flavor, {"service_profiles": left})


def refuse_other(flavor: NetworkFlavorRow, profile_id: str) -> None:
    """Raises: NotFound for a profile that the flavor does not have."""
    if profile_id not in flavor["service_profiles"]:
        raise not_associated(flavor["id"], profile_id)


def not_associated(flavor_id: str, profile_id: str) -> Exception:
    """The flavor does not have the profile, or is not there itself."""
    return faults.missing(
        "FlavorServiceProfileBindingNotFound",
        f"Service Profile {profile_id} is not associated with flavor {flavor_id}.",
    )


def refuse_new_router(tx: Tx, values: Mapping[str, object]) -> None:
    """A new router of a flavor asks for no other kind than the flavor's. Raises: NotFound, Conflict, BadRequest.

    `values` are as the body has them: what it is silent about asks for nothing.
    """
    if "flavor_id" not in values:
        return
    provider = _provider_of(tx, str(values["flavor_id"]))
    wrong = _against(provider, values)
    if wrong is not None:
        raise faults.invalid_input(f"Provider {provider.name} does not support {wrong}")


def refuse_other_kind(tx: Tx, router: RouterRow, values: Mapping[str, object]) -> None:
    """A router of a flavor stays of its kind, and as it is when its flavor says none any more. Raises: BadRequest."""
    if router["flavor_id"] is None or not {"distributed", "ha"} & values.keys():
        return
    flavor = find(tx, FLAVOR, router["flavor_id"])
    provider = None if flavor is None else _first_provider(tx, flavor)
    now = provider or Provider("", "", distributed=router["distributed"], ha=router["ha"])
    if _against(now, values) is not None:
        raise faults.invalid_input(
            "Changing the 'ha' and 'distributed' attributes on a router associated with a flavor is not supported"
        )


def _against(provider: Provider, values: Mapping[str, object]) -> str | None:
    """What of the values the provider's routers are not."""
    for name, has in (("distributed", provider.distributed), ("ha", provider.ha)):
        if values.get(name) not in (None, has):
            return f"{name}={values[name]}"
    return None


def _provider_of(tx: Tx, flavor_id: str) -> Provider:
    flavor = find(tx, FLAVOR, flavor_id)
    if flavor is None:
        raise faults.not_found(FLAVOR.name, flavor_id)
    profile = _first_profile(tx, flavor)
    if profile is None:
        raise not_associated(flavor_id, "")
    if not profile["enabled"]:
        raise faults.conflict("ServiceProfileDisabled", "Service Profile is not enabled.")
    return _provider(profile["driver"])


def _first_profile(tx: Tx, flavor: NetworkFlavorRow) -> ServiceProfileRow | None:
    return find(tx, SERVICE_PROFILE, flavor["service_profiles"][0]) if flavor["service_profiles"] else None


def _first_provider(tx: Tx, flavor: NetworkFlavorRow) -> Provider | None:
    profile = _first_profile(tx, flavor)
    return None if profile is None else next((each for each in PROVIDERS if each.driver == profile["driver"]), None)


def _provider(driver: str) -> Provider:
    for each in PROVIDERS:
        if each.driver == driver:
            return each
    raise faults.missing("ServiceProfileDriverNotFound", f"Service Profile driver {driver} could not be found.")


def _refuse_driver(values: Values) -> None:
    if values.get("driver"):
        _provider(values["driver"])


def _refuse_use(tx: Tx, profile_id: str) -> None:
    # Flavors are few, as administrators make them.
    if any(profile_id in profiles for profiles in tx.scalars(select(_flavors.c.service_profiles))):
        raise faults.conflict("ServiceProfileInUse", f"Service Profile {profile_id} is used by some service instance.")


def _whole(values: Mapping[str, object]) -> Mapping[str, object]:
    """What is to be stored: a null of `enabled` is true, and profiles come by a request of their own."""
    if values.get("service_profiles"):
        raise faults.invalid_value(
            "service_profiles", "profiles are associated by POST to service_profiles below the flavor; [] is accepted"
        )
    kept = {name: value for name, value in values.items() if name != "service_profiles"}
    return {**kept, "enabled": True} if "enabled" in kept and kept["enabled"] is None else kept


KIND = Kind(
    resource=FLAVOR,
    create=create_flavor,
    update=update_flavor,
    delete=delete_flavor,
    visible=lambda caller: None,
    max_bulk=0,
)
PROFILE_KIND = Kind(
    resource=SERVICE_PROFILE,
    create=create_profile,
    update=update_profile,
    delete=delete_profile,
    visible=lambda caller: None,
    max_bulk=0,
)
