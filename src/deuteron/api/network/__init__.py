"""Network v2.0: Neutron's API over the rules of `rules/network`.

service         routes, error bodies          objects     the generic engine over declarations
bodies          JSON bodies in Neutron's words    readable    which attributes a caller may read
policies        Neutron's rules with their defaults
agents          hosts as Neutron's agents     quotas, tags, extensions    what is no kind of object
"""

from __future__ import annotations

from deuteron.api.network.policies import POLICIES
from deuteron.api.network.service import NetworkService as SERVICE
from deuteron.rules.network.bootstrap import bootstrap

__all__ = ["POLICIES", "SERVICE", "bootstrap"]
