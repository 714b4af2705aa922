"""What a request asks of one network for many ports it asks once; and what it changes, it reads anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from deuteron.model.network import NETWORK
from deuteron.rules.network import ports, quotas, security_groups, sight
from deuteron.rules.network.kinds import change, remove
from deuteron.store.database import Tx
from deuteron.store.engine import Session
from deuteron.store.prepared import Parameters, Prepared, Result
from tests.unit.api_network.harness import CALLERS, DEMO, Client

MANY = 20


class Watched:
    """A session that remembers which prepared statements it ran."""

    def __init__(self, inner: Session) -> None:
        self._inner = inner
        self.connection = inner.connection
        self.ran: Counter[Prepared] = Counter()

    def run(self, statement: Prepared, parameters: Parameters | Sequence[Parameters] | None) -> Result:
        self.ran[statement] += 1
        return self._inner.run(statement, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_ports_made_together_read_what_they_share_once(client: Client) -> None:
    network = client.network()
    client.subnet(network["id"], "10.0.0.0/24")

    def work(tx: Tx) -> Counter[Prepared]:
        tx.session = watched = Watched(tx.session)
        for _ in range(MANY):
            ports.create_port(tx, client.cloud.settings, CALLERS["demo"], {"network_id": network["id"]})
        return watched.ran

    ran = client.cloud.database.write(work)
    reads = [text for each, times in ran.items() if times > 1 and (text := str(each._statement)).startswith("SELECT")]
    shared = ("network_networks", "network_subnets", "network_quotas", "network_default_groups")
    assert max(ran.values()) == MANY
    assert [text for text in reads if any(f"FROM {table} " in text for table in shared)] == []


def test_what_a_transaction_changes_it_reads_anew(client: Client) -> None:
    made = client.network(name="before")

    def work(tx: Tx) -> None:
        row = sight.network_for(tx, None, made["id"])
        change(tx, NETWORK, row, {"name": "after"})
        assert sight.network_for(tx, None, made["id"])["name"] == "after"
        assert quotas.limit(tx, "port", DEMO) != 7
        quotas.set_limits(tx, DEMO, {"port": 7}, below_use=True)
        assert quotas.limit(tx, "port", DEMO) == 7
        quotas.reset(tx, DEMO)
        assert quotas.limit(tx, "port", DEMO) != 7
        group = security_groups.default_group(tx, DEMO)
        assert security_groups.default_group(tx, DEMO) == group
        remove(tx, NETWORK, made["id"])
        assert sight.kept_network(tx, made["id"]) is None

    client.cloud.database.write(work)
