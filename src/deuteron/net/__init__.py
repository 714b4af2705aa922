"""Networking on a host: desired rows, the plan that makes them, the drivers that realise them."""
