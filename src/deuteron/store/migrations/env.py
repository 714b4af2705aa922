"""Alembic asks for this file; `deuteron.store.migrate` runs migrations itself and never executes it."""
