"""Identity v3 (Keystone's API): who callers are, what they may do, and where services are."""

from deuteron.api.identity.policies import POLICIES
from deuteron.api.identity.service import IdentityService as SERVICE  # the name `main` looks for
from deuteron.rules.identity.bootstrap import bootstrap

__all__ = ["POLICIES", "SERVICE", "bootstrap"]
