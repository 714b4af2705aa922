"""The laws of the Network service.

    kinds           what the engine knows of a kind of object, and the only ways to write its rows
    registry        all kinds                     listing     how lists are asked for
    sight           who sees what                 attributes  values that a client gives, decoded
    …               and for each kind of object a module of its rules, named after it
    forwarded, helped, proxied, trunk_ports    what others ask of port forwardings, conntrack helpers, NDP proxies and
                    trunks, whose own rules stand on those of ports and routers
    reached         what needs a router's interface    rule_values    what no rule of a group can have
    dhcp, router_hosts    which hosts serve a network's DHCP, which one runs a router
    addresses       which address a port gets     segments    which VLAN or tunnel id a network gets
    bindings        how a port is plugged         faults      Neutron's names of errors

Rules are functions `(tx, settings, caller, …)` that other services call in their own transactions:
`ports.create_port`, `ports.delete_port`, `ports.bind_port`, `ports.unbind_port`, `port_statuses.take_statuses`,
`security_groups.default_group`, `sight.visible_networks`. They check no policy.
"""
