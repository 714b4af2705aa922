"""Image v2 (Glance's API): disk images, their data and who may see them."""

from deuteron.api.image.leftovers import Leftovers
from deuteron.api.image.policies import POLICIES
from deuteron.api.image.service import ImageService as SERVICE  # the name `main` looks for
from deuteron.rules.image.start import bootstrap

__all__ = ["POLICIES", "SERVICE", "Leftovers", "bootstrap"]
