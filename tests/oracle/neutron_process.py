"""The real Neutron in a process of its own, which answers requests from its standard input.

    python -P neutron_process.py FOLDER         with the interpreter of Neutron's environment

FOLDER gets the configuration and an SQLite database. Each line of the input is a JSON object: a request (`method`,
`path`, `headers`, `body`), answered with a line (`status`, `headers`, `body`), or `{"reset": true}`, after which
everything is as it was at the start. The process ends with its input, so nothing is ever left of it.

Most of a request's time was spent on connections that are opened anew for every transaction, on statements that are
compiled anew since the cache holds few, and on what agents are told. Here the first two are kept, and nobody is told.

There is no broker, no identity service and no agent: who asks is told by the headers that the token middleware would
have set, and the agents of two hosts, one for guests alone, are registered as if
they had reported once.
"""

import gc
import io
import json
import os
import shutil
import sys
from pathlib import Path

_NEUTRON = """
[DEFAULT]
core_plugin = ml2
service_plugins = router,qos,metering,port_forwarding,conntrack_helper,ndp_proxy,trunk,local_ip,log,segments
auth_strategy = keystone
transport_url = fake://
dns_domain = cloud.example
api_paste_config = {folder}/api-paste.ini
state_path = {folder}
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
agent_down_time = 1000000
dhcp_agent_notification = false
[oslo_concurrency]
lock_path = {folder}
[database]
connection = sqlite:///{folder}/live.sqlite
sqlite_synchronous = {is_durable}
[quotas]
{quotas}
[ml2]
type_drivers = local,flat,vlan,vxlan
tenant_network_types = vxlan,vlan
mechanism_drivers = openvswitch
extension_drivers = port_security,qos,port_device_profile,port_numa_affinity_policy,dns_domain_keywords,
    tag_ports_during_bulk_creation
[ml2_type_flat]
flat_networks = public
[ml2_type_vlan]
network_vlan_ranges = physnet1:1000:1019
[ml2_type_vxlan]
vni_ranges = 1:{vnis}
"""
_PASTE = """
[composite:neutron]
use = egg:Paste#urlmap
/: versions
/v2.0: api
[composite:api]
use = call:neutron.auth:pipeline_factory
keystone = request_id catch_errors context extensions app
[filter:request_id]
paste.filter_factory = oslo_middleware:RequestId.factory
[filter:catch_errors]
paste.filter_factory = oslo_middleware:CatchErrors.factory
[filter:context]
paste.filter_factory = neutron.auth:NeutronKeystoneContext.factory
[filter:extensions]
paste.filter_factory = neutron.api.extensions:plugin_aware_extension_middleware_factory
[app:app]
paste.app_factory = neutron.api.v2.router:APIRouter.factory
[app:versions]
paste.app_factory = neutron.pecan_wsgi.app:versions_factory
"""
_OVS = {
    "bridge_mappings": {"physnet1": "br-eth2", "public": "br-ex"},
    "tunnel_types": ["vxlan"],
    "integration_bridge": "br-int",
    "datapath_type": "netdev",
    "ovs_hybrid_plug": False,
    "vhostuser_socket_dir": "",
    "ovs_capabilities": {"datapath_types": ["netdev"], "iface_types": []},
}
_L3 = {"agent_mode": "legacy", "handle_internal_only_routers": True}
_AGENTS = (
    ("aio", "neutron-openvswitch-agent", "Open vSwitch agent", "N/A", {**_OVS, "tunneling_ip": "192.0.2.1"}),
    ("aio", "neutron-dhcp-agent", "DHCP agent", "dhcp_agent", {"dhcp_driver": "dnsmasq"}),
    ("aio", "neutron-l3-agent", "L3 agent", "l3_agent", _L3),
    ("far", "neutron-openvswitch-agent", "Open vSwitch agent", "N/A", {**_OVS, "tunneling_ip": "192.0.2.2"}),
)
_DEFAULT_RULES = (
    ("egress", "IPv4", True),
    ("egress", "IPv6", True),
    ("ingress", "IPv4", False),
    ("ingress", "IPv6", False),
)
"""What a migration of Neutron's writes into a database that is not made at once."""
_QUOTAS = ("network", "subnet", "port", "router", "floatingip", "security_group", "security_group_rule")


def main(folder):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer
    application, settle = start(folder)
    settle()
    live, clean = folder / "live.sqlite", folder / "clean.sqlite"
    shutil.copy(live, clean)
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "reset" in request:
            settle()
            for rest in folder.glob("live.sqlite-*"):
                rest.unlink()
            shutil.copy(clean, live)
            print("{}", file=answers, flush=True)
        else:
            print(json.dumps(answer(application, request)), file=answers, flush=True)


def start(folder, is_large=False):
    """The WSGI application over a new database, and what lets go of the database until the next request.

    A large one has no quotas, enough numbers for tunnels, and each commit on disk.
    """
    quotas = "\n".join(f"quota_{kind} = -1" for kind in _QUOTAS) if is_large else ""
    configuration = _NEUTRON.format(folder=folder, is_durable=is_large, quotas=quotas, vnis=20000 if is_large else 200)
    (folder / "neutron.conf").write_text(configuration)
    (folder / "api-paste.ini").write_text(_PASTE)
    os.environ["OS_NEUTRON_CONFIG_FILES"] = str(folder / "neutron.conf")
    sys.argv = ["neutron-api"]

    from neutron.db.migration.models import head
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{folder / 'live.sqlite'}")
    head.get_metadata().create_all(engine)
    engine.dispose()

    from neutron.api.rpc.agentnotifiers.l3_rpc_agent_api import L3AgentNotifyAPI
    from neutron.plugins.ml2.ovo_rpc import _ObjectChangeHandler
    from oslo_db.sqlalchemy import engines

    # What agents are told reads every object again, and no agent hears it.
    _ObjectChangeHandler.handle_event = lambda *_, **__: None
    L3AgentNotifyAPI._notification = lambda *_, **__: None
    engines._thread_yield = lambda *_: None  # nobody else is there to whom to yield
    from neutron.wsgi.api import application
    from neutron_lib import context
    from neutron_lib.db import api as db
    from neutron_lib.plugins import directory
    from oslo_utils import timeutils
    from sqlalchemy.pool import QueuePool

    plugin = directory.get_plugin()
    admin = context.get_admin_context()
    for host, binary, agent_type, topic, configurations in _AGENTS:
        agent = {"binary": binary, "host": host, "topic": topic, "agent_type": agent_type}
        agent |= {"configurations": configurations}
        if topic != "N/A":  # that of a switch tells none
            agent["availability_zone"] = "nova"
        plugin.create_or_update_agent(admin, agent, timeutils.utcnow())
    for direction, ethertype, in_every in _DEFAULT_RULES:
        rule = {"direction": direction, "ethertype": ethertype, "protocol": None}
        rule["description"] = f"Legacy default SG rule for {direction} traffic"  # as its migration says
        rule |= {"port_range_min": None, "port_range_max": None, "remote_ip_prefix": None}
        rule |= {"remote_group_id": None if in_every else "PARENT", "remote_address_group_id": None}
        rule |= {"used_in_default_sg": True, "used_in_non_default_sg": in_every, "project_id": "", "tenant_id": ""}
        plugin.create_default_security_group_rule(admin, {"default_security_group_rule": rule})

    engine = db.get_context_manager().writer.get_engine()
    # What oslo.db does on each new connection is kept with `dispatch`.
    engine.pool = QueuePool(engine.pool._creator, dialect=engine.dialect, _dispatch=engine.pool.dispatch)
    engine._compiled_cache.capacity = 20_000
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)

    def settle():
        engine.dispose()

    return application, settle


def answer(application, request):
    path, _, query = request["path"].partition("?")
    body = (request["body"] or "").encode()
    environ = {
        "REQUEST_METHOD": request["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "9696",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request["headers"].items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    told = {}

    def start_response(status, headers, exc_info=None):
        told["status"], told["headers"] = int(status.split()[0]), dict(headers)
        return lambda data: None

    pieces = application(environ, start_response)
    try:
        raw = b"".join(pieces)
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
    return {**told, "body": raw.decode()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
