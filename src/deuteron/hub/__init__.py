"""From the change log to what each host should have, and back from what hosts report to rows."""
