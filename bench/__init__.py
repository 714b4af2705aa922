"""How fast the cloud is, beside the real Neutron: `python -m bench --help`."""
