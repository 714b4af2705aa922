"""The `openvswitch` mechanism: ports on br-int of a host whose agent speaks to Open vSwitch.

binding   for the API: binds a port, names the agent (pure)
host      for the agent: its part of the plan, and the guest's plug (pure)
tables    for the agent: the switch's tables, and their drivers
"""
