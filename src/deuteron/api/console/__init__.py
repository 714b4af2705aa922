"""Consoles of servers: the pages that browsers load, and the WebSockets that these open."""
