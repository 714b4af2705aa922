"""The `linuxbridge` mechanism: ports on a Linux bridge for each network.

binding   for the API: binds a port, names the agent (pure)
host      for the agent: its part of the plan, the guest's plug, and its tables beside those of the switch
"""
