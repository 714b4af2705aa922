"""Rows that say what should be: tables, transactions, one growing revision, and a change log."""
