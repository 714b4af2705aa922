"""A mechanism that puts ports without port security on plain Linux bridges.

binding   for the API: binds a port
host      for hosts: its part of the plan, the guest's plug
guard     for hosts: the nftables table that drops tagged frames of guests
"""
