"""Tables of the hosts: who they are, what they last said, and the numbers allotted to objects on them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, UniqueConstraint

from deuteron.store.schema import Json, metadata

hosts = Table(
    "hosts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("id", Text, nullable=False),
    Column("connected", Boolean, nullable=False),
    Column("last_heard", Text),
    Column("started_at", Text),
    Column("realised_revision", BigInteger, nullable=False),
    Column("hello", Json, nullable=False),
    Column("usage", Json, nullable=False),
    Column("problems", Json, nullable=False),
    Column("disabled_services", Json, nullable=False),
    Column("forced_down", Boolean, nullable=False, server_default="0"),
    Column("agent_descriptions", Json, nullable=False, server_default="{}"),
    Column("disabled_agents", Json, nullable=False, server_default="[]"),
)
"""One row for each host that ever connected; `hello` is its last `Hello` message as a JSON object."""

slots = Table(
    "host_slots",
    metadata,
    Column("host", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("object_id", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("parent_id", Text),
    UniqueConstraint("host", "kind", "number"),
    Index("ix_host_slots_object", "object_id", "kind"),
    Index("ix_host_slots_parent", "parent_id", "host"),
)
"""`vlan`: the local VLAN of a network's segment on a host; `port`: the OpenFlow port number of a port, its segment as
parent; `address`: the number of a floating IP, on no host. A network's first segment goes by the network's id. Of a
floating IP that is translated on the host of its port: `floating`, the priority of its rule, its router as parent; and
`pair`, the number of the devices between that router and floating IPs, the external network as parent."""
