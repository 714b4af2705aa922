"""The dashboard: a page and its small script, for browsers. `api/dashboard` serves it; it speaks HTTP to our APIs."""
