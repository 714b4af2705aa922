"""Settings of OpenStack's dashboard, Horizon 27, for a cloud of Deuteron: see docs/horizon.md.

They belong into `openstack_dashboard/local/local_settings.py` of an environment that has Horizon. What is not said here
is Horizon's default. Which cloud it speaks with says `OPENSTACK_KEYSTONE_URL`.
"""

import os
import sys
from pathlib import Path

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

OPENSTACK_KEYSTONE_URL = os.environ.get("OPENSTACK_KEYSTONE_URL", "http://127.0.0.1:5000/identity/v3")

# One process serves it, whose memory keeps who has logged in: nothing else needs to run.
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# Scripts and styles are made once, by `django-admin compress`, beside the program.
STATIC_ROOT = str(Path(sys.prefix) / "static")
COMPRESS_OFFLINE = True

# What the cloud has, where Horizon takes something else for granted.
OPENSTACK_CINDER_FEATURES = {"enable_backup": True}
OPENSTACK_NEUTRON_NETWORK = {
    "supported_provider_types": ["local", "flat", "vlan", "vxlan"],
    "enable_auto_allocated_network": True,
    "enable_ha_router": True,
}

# What went wrong is told, with the traceback if it is Horizon's own mistake.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False}},
}
