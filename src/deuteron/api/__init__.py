"""OpenStack's own APIs over HTTP: one package per service, one transaction per request, no side effects."""
