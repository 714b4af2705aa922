"""The line to the agents: who the hosts are, what each should have, and what they report."""
