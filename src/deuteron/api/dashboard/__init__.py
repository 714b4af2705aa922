"""The dashboard's part of the API: its files, and what tells an open page that something changed."""
