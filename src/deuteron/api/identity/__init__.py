"""Identity v3 (Keystone's API): who callers are, what they may do, and where services are."""

from deuteron.api.identity.bootstrap import bootstrap
from deuteron.api.identity.policies import POLICIES
from deuteron.api.identity.service import IdentityService as SERVICE  # the name `main` looks for

__all__ = ["POLICIES", "SERVICE", "bootstrap"]
