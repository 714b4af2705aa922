"""The real Neutron behind HTTP, for the part `beside`.

    python -P neutron_server.py FOLDER PROCESSES         with the interpreter of Neutron's environment

It starts as the oracle's (`tests/oracle/neutron_process.py`) over a database as durable as ours: SQLite with WAL and
`synchronous=FULL`. Its first line on the output is its port. So many processes answer, each one connection at a time,
and all end with its input.

SQLite has one writer. Neutron's transactions read before they write, and two that do so at once would fail with
"database is locked", so that a request which may write waits for the one before it, as it would for the database.
"""

import contextlib
import fcntl
import http.server
import importlib.util
import json
import os
import shutil
import socket
import sqlite3
import sys
import threading
from pathlib import Path

_PROCESS = Path(__file__).parents[1] / "tests" / "oracle" / "neutron_process.py"
_SAFE = ("GET", "HEAD")


def main(folder, processes):
    # Not by its folder: there is a `neutron.py` in it, which is not the one that is wanted.
    found = importlib.util.spec_from_file_location("neutron_process", _PROCESS)
    neutron_process = importlib.util.module_from_spec(found)
    found.loader.exec_module(neutron_process)

    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is not the port
    application, settle = neutron_process.start(folder, is_large=True)
    live, clean = folder / "live.sqlite", folder / "clean.sqlite"
    settle()
    shutil.copy(live, clean)
    _warm_up(lambda method, path, body=None: _ask(neutron_process.answer, application, method, path, body))
    settle()
    shutil.copy(clean, live)
    database = sqlite3.connect(live)
    database.execute("PRAGMA journal_mode=WAL").fetchall()
    database.close()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    for _ in range(processes):
        if os.fork() == 0:
            threading.Thread(target=_end_with_the_input, daemon=True).start()
            _serve(listener, neutron_process.answer, application, folder / "write.lock")
    print(listener.getsockname()[1], file=told, flush=True)
    os.read(0, 1)


def _warm_up(ask):
    """What Neutron does with its first requests of a kind is done before there are several processes."""
    for number in range(2):
        for path in ("networks", "ports", "subnets", "routers", "floatingips", "security-group-rules", "ports?name=p"):
            ask("GET", path)
        inside, outside = (
            ask("POST", "networks", {"network": {"name": "warm", "router:external": is_external}})["network"]["id"]
            for is_external in (False, True)
        )
        subnets = [
            {"network_id": network, "ip_version": 4, "cidr": f"10.{number}.{place}.0/24", "enable_dhcp": False}
            for place, network in enumerate((inside, outside))
        ]
        own = ask("POST", "subnets", {"subnets": subnets})["subnets"][0]["id"]
        ports = ask("POST", "ports", {"ports": [{"network_id": inside}, {"network_id": inside}]})["ports"]
        ask("POST", "ports", {"port": {"network_id": inside}})
        ask("GET", f"ports?network_id={inside}&name=p")
        ask("GET", f"ports/{ports[0]['id']}")
        ask("GET", f"networks/{inside}")
        router = ask("POST", "routers", {"router": {"name": "warm"}})["router"]["id"]
        ask("PUT", f"routers/{router}/add_router_interface", {"subnet_id": own})
        ask("POST", "floatingips", {"floatingip": {"floating_network_id": outside}})
        group = ask("POST", "security-groups", {"security_group": {"name": "warm"}})["security_group"]["id"]
        rule = {"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 1}
        ask("POST", "security-group-rules", {"security_group_rule": {**rule, "port_range_max": 1}})


def _ask(answer, application, method, path, body):
    headers = {"X-User-Id": "u" * 32, "X-Project-Id": "a" * 32, "X-Roles": "admin,member,reader"}
    sent = None if body is None else json.dumps(body)
    told = answer(application, {"method": method, "path": f"/v2.0/{path}", "body": sent, "headers": headers})
    if told["status"] >= 300:
        raise SystemExit(f"{method} {path}: {told['status']} {told['body'][:400]}")
    return json.loads(told["body"])


def _end_with_the_input():
    os.read(0, 1)
    os._exit(0)


def _serve(listener, answer, application, lock):
    writing = lock.open("w")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def handle_one_request(self):
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            asked = {"method": self.command, "path": self.path, "body": body, "headers": dict(self.headers)}
            if self.command not in _SAFE:
                fcntl.flock(writing, fcntl.LOCK_EX)
            try:
                told = answer(application, asked)
            finally:
                fcntl.flock(writing, fcntl.LOCK_UN)
            data = told["body"].encode()
            self.send_response_only(told["status"])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

    while True:
        connection, address = listener.accept()
        with contextlib.suppress(ConnectionError):  # who asked has gone
            Handler(connection, address, None)
        connection.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
