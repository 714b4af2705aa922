"""The tiny guest: a virtual machine image made from the distribution's own packages."""

from deuteron.guest.recipe import GuestFiles, GuestNotBuilt, build

__all__ = ["GuestFiles", "GuestNotBuilt", "build"]
