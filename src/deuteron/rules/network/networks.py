"""Networks: their segments, their MTU, who may use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select

from deuteron.model.caller import Caller
from deuteron.model.network import DHCP, NETWORK, ROUTER_GATEWAY, SUBNET
from deuteron.model.network.rows import NetworkRow, SegmentRow
from deuteron.model.scalars import NetworkId
from deuteron.model.settings import Settings
from deuteron.net.mechanisms import Segment
from deuteron.rules.network import (
    addresses,
    bindings,
    dhcp,
    faults,
    floatingips,
    listing,
    ports,
    promises,
    qos,
    quotas,
    rbac,
    security_groups,
    segments,
    sight,
    steps,
)
from deuteron.rules.network.kinds import Kind, add, change, new_id, refuse_unknown_zones, remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import (
    auto_allocated_topologies,
    networks,
    rbac_policies,
    subnets,
)
from deuteron.store.network_tables import ports as ports_table
from deuteron.store.network_tables import segments as segments_table
from deuteron.store.query import Values

_PROVIDER = segments.PROVIDER


def create_network(tx: Tx, settings: Settings, caller: Caller | None, values: Values) -> NetworkRow:
    """A new network with its segment.

    Raises: BadRequest for provider attributes or an MTU that cannot be; Conflict for a segment in use or a
    quota that is full.
    """
    network_id = NetworkId(new_id())
    if values.get("is_default"):
        _refuse_second_default(tx, network_id)
    quotas.check(tx, "network", values["project_id"])
    policy_id = qos.policy_for(tx, caller, values.get("qos_policy_id"))
    values = {**values, "qos_policy_id": policy_id or qos.default_of(tx, values["project_id"])}
    if values["project_id"]:
        security_groups.default_group(tx, values["project_id"])
    wanted = _wanted_segments(settings, values.pop("segments", None), values)
    taken: list[SegmentRow] = []
    for index, each in enumerate(wanted or (None,)):
        found = segments.take(tx, settings, each)
        taken.append(segments.put(tx, network_id, found, index, {}))
    largest = segments.mtu_of(settings, [segments.segment_of_row(row) for row in taken])
    mtu = values.get("mtu") or largest
    segments.check_mtu(mtu, largest)
    refuse_unknown_zones(values.get("availability_zone_hints") or ())
    row = add(
        tx,
        NETWORK,
        {
            **values,
            "id": network_id,
            "ha": bool(values.get("ha")),
            "l2_adjacency": True,
            "mtu": mtu,
            "status": "ACTIVE",
            "subnets": [],
            "availability_zones": [],
            **segments.say(taken),
        },
    )
    rbac.keep(tx, "network", row, {})
    steps.made(tx, settings, "network", row)
    return row


def update_network(tx: Tx, settings: Settings, caller: Caller | None, row: NetworkRow, values: Values) -> NetworkRow:
    """The network with `values` set. Raises: BadRequest, NotFound, Conflict."""
    present: Mapping[str, object] = row
    _refuse_other_provider([name for name in _PROVIDER if name in values and values[name] != present[name]])
    if "qos_policy_id" in values:
        qos.change_policy(tx, caller, row["qos_policy_id"], values["qos_policy_id"])
        bindings.refuse_policy(tx, settings, row["id"], values["qos_policy_id"])
        promises.follow_network(tx, settings, row["id"], row["qos_policy_id"], values["qos_policy_id"])
    if values.get("is_default"):
        _refuse_second_default(tx, row["id"])
    if "segments" in values:
        _refuse_other_segments(row, values["segments"])
        values = {name: value for name, value in values.items() if name != "segments"}
    if "provider:segmentation_id" in values:
        values = _move_segment(tx, settings, row, values)
    if "mtu" in values:
        versions = tx.scalars(select(subnets.c.ip_version).where(subnets.c.network_id == row["id"]).distinct())
        # As given: for a network with subnets Neutron takes 0 for a number, not for the computed MTU.
        addresses.check_mtu(row["id"], values["mtu"], versions)
        largest = segments.mtu_of_network(settings, query.with_values(row, values))
        values["mtu"] = values["mtu"] or largest
        segments.check_mtu(values["mtu"], largest)
    if values.get("router:external") is False and row["router:external"]:
        _refuse_unset_external(tx, row)
    if values.get("shared") is False and row["shared"]:
        _refuse_unshare(tx, row)
    changed = change(tx, NETWORK, row, values)
    rbac.keep(tx, "network", changed, row)
    return changed


def delete_network(tx: Tx, settings: Settings, caller: Caller | None, row: NetworkRow) -> None:
    """Delete the network with its subnets, DHCP ports, and floating IPs that lead nowhere.

    Raises: Conflict while other ports are there.
    """
    network_id = row["id"]
    free = floatingips.unassociated(tx, network_id)
    others = tx.scalars(
        select(ports_table.c.id)
        .where(
            ports_table.c.network_id == network_id,
            ports_table.c.device_owner != DHCP,
            ports_table.c.id.not_in([floating["floating_port_id"] for floating in free]),
        )
        .order_by(ports_table.c.id)
    )
    if others:
        raise faults.network_in_use(network_id, others)
    for floating in free:
        floatingips.delete_floatingip(tx, settings, None, floating)
    for port_id in tx.scalars(select(ports_table.c.id).where(ports_table.c.network_id == network_id)):
        ports.delete_port(tx, settings, port_id)
    for subnet_id in tx.scalars(select(subnets.c.id).where(subnets.c.network_id == network_id)):
        addresses.set_pools(tx, subnet_id, ())
        steps.goes(tx, settings, "subnet", subnet_id)
        remove(tx, SUBNET, subnet_id)
    dhcp.forget(tx, network_id)
    rbac.forget(tx, network_id)
    segments.release(tx, network_id)
    tx.execute(delete(auto_allocated_topologies).where(auto_allocated_topologies.c.network_id == network_id))
    steps.goes(tx, settings, "network", network_id)
    remove(tx, NETWORK, network_id)


def seen_as(caller: Caller, row: Mapping[str, object]) -> Mapping[str, object]:
    if row.get("project_id") == caller.project_id or caller.is_admin or caller.is_service:
        return {}
    # Visible and not its own: then it is external, shared with everybody, or with this project.
    return {"shared": bool(row.get("shared")) or not row.get("router:external")}


def _refuse_second_default(tx: Tx, network_id: NetworkId) -> None:
    other = tx.scalar(select(networks.c.id).where(networks.c.is_default, networks.c.id != network_id).limit(1))
    if other is not None:
        raise faults.conflict("DefaultExternalNetworkExists", f"A default external network already exists: {other}.")


def _wanted_segments(settings: Settings, listed: Sequence[Values] | None, values: Values) -> list[Segment]:
    """The segments that a body asks for, in its list or by provider attributes; none, where any will do.

    Raises: BadRequest. Source: neutron/plugins/ml2/managers.py, `_process_provider_create`.
    """
    is_listed = all(values.get(name) is None for name in _PROVIDER)
    if not is_listed:
        if listed is not None:
            raise faults.refused(
                "SegmentsSetInConjunctionWithProviders", "Segments and provider values cannot both be set."
            )
        listed = (values,)
    wanted = [_wanted_segment(settings, each, is_listed=is_listed) for each in listed or ()]
    whole = [segment for segment in wanted if not segments.type_drivers(settings).is_partial(segment)]
    if any(segment in whole[:place] for place, segment in enumerate(whole)):
        raise faults.refused("SegmentsContainDuplicateEntry", "Duplicate segment entry in request.")
    return wanted


def _wanted_segment(settings: Settings, said: Values, *, is_listed: bool) -> Segment:
    kind, physical, number = (said.get(name) for name in _PROVIDER)
    if is_listed and number == 0:
        number = None  # as Neutron reads a list, and not provider attributes
    if kind is None:
        raise faults.invalid_input("network_type required")
    segment = Segment(kind, physical, number)
    segments.refuse_impossible(settings, segment)
    return segment


def _refuse_other_segments(row: NetworkRow, wanted: Sequence[Mapping[str, object]]) -> None:
    """Neutron takes any and changes nothing. Raises: BadRequest."""
    present: Mapping[str, object] = row
    shown = segments.shown(row["lans"]) or [{name: present[name] for name in _PROVIDER}]
    if wanted and [{name: segment.get(name) for name in _PROVIDER} for segment in wanted] != shown:
        raise faults.invalid_input("the segments of a network cannot be changed; those that it has are accepted")


def _refuse_other_provider(changed: Sequence[str]) -> None:
    """Only the segmentation id may change. Source: ml2/plugin.py, `_update_provider_network_attributes`."""
    fixed = sorted(set(changed) - {"provider:segmentation_id"})
    if fixed:
        raise faults.invalid_input(
            f"Plugin does not support updating the following provider network attributes: {', '.join(fixed)}"
        )


def _move_segment(tx: Tx, settings: Settings, row: NetworkRow, values: Values) -> Values:
    """The values, and the network on another VLAN; 0 asks for none. Raises: BadRequest for a network that is no VLAN,
    or has several segments; Conflict for a VLAN that is taken, by itself too.

    Source: ml2/plugin.py, `_update_segmentation_id`; ml2/managers.py, `update_network_segment`.
    """
    number = values["provider:segmentation_id"]
    if number == 0:
        return {name: value for name, value in values.items() if name != "provider:segmentation_id"}
    there = segments.rows_of(tx, row["id"])
    if len(there) != 1:
        raise faults.invalid_input(
            "Provider network attributes can be updated only in provider networks with a single segment."
        )
    held = there[0]
    if held["network_type"] != "vlan":
        raise faults.invalid_input(
            f"Only VLAN type networks can be updated, and network {row['id']} is of type {held['network_type']}"
        )
    found = segments.take(tx, settings, Segment("vlan", held["physical_network"], number))
    moved = segments.say([segments.renumber(tx, held, found)], is_routed=not row["l2_adjacency"])
    return {**values, **moved}


def _refuse_unset_external(tx: Tx, row: NetworkRow) -> None:
    gateway = tx.first(
        select(ports_table.c.id)
        .where(ports_table.c.network_id == row["id"], ports_table.c.device_owner == ROUTER_GATEWAY)
        .limit(1)
    )
    if gateway is not None:
        raise faults.conflict(
            "ExternalNetworkInUse",
            f"External network {row['id']} cannot be updated to be made non-external, "
            "since it has existing gateway ports.",
        )


def _refuse_unshare(tx: Tx, row: NetworkRow) -> None:
    named = select(rbac_policies.c.target_tenant).where(
        rbac_policies.c.object_id == row["id"], rbac_policies.c.action == rbac.SHARED
    )
    others = select(ports_table.c.id).where(
        ports_table.c.network_id == row["id"],
        ports_table.c.project_id.not_in((row["project_id"], "")),
        ports_table.c.project_id.not_in(named),
        ~ports_table.c.device_owner.startswith("network:"),
    )
    if tx.first(others.limit(1)) is not None:
        raise faults.conflict(
            "InvalidSharedSetting",
            f"Unable to reconfigure sharing settings for network {row['name']}. Multiple projects are using it.",
        )


def _show_others(tx: Tx, settings: Settings, caller: Caller, rows: Sequence[Values], names: frozenset[str]) -> None:
    """What a network shows beyond its columns: whether it is shared with the caller, and its segments if several."""
    sight.show_shared(tx, settings, caller, rows, names)
    if not names.isdisjoint(("segments", *segments.PROVIDER)):
        for row in rows:
            row["segments"] = segments.shown(row["lans"])


KIND = Kind(
    resource=NETWORK,
    create=create_network,
    update=update_network,
    delete=delete_network,
    visible=sight.visible_networks,
    seen_as=seen_as,
    derive=_show_others,
    if_any=frozenset(("segments",)),
    instead={"segments": segments.PROVIDER},
    extra_columns=("lans",),
    filters={
        "shared": sight.by_shared(networks.c.id),
        **{
            name: listing.by_another(
                NETWORK.by_name[name],
                segments_table.c[name.removeprefix("provider:")],
                segments_table.c.network_id,
                networks.c.id,
            )
            for name in segments.PROVIDER
        },
    },
)
