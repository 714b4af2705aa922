"""Alembic's folder; `versions` holds one module per schema revision, in order."""
