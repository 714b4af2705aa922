"""Images that are downloaded: from where an operator allows it, and from nowhere that is internal."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deuteron.api.image import fetch
from deuteron.api.jobs import Jobs
from deuteron.model.errors import BadRequest
from deuteron.model.settings import ImportFilter
from tests.clouds import wait_for
from tests.unit.api_identity.harness import Answer, Kit, make_kit
from tests.unit.api_image.test_images import files, kit_with, make
from tests.unit.api_image.test_imports import bring, done, show, tasks_of
from tests.unit.api_image.test_inspect import qcow2

DATA = b"some disk" * 100_000


@dataclass
class Web:
    """A web server on loopback: what its paths answer, and what it was asked."""

    port: int
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def uri(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def allowed(self) -> str:
        """What an operator says so that it is reached."""
        return f'[image.import_filtering_opts]\nallowed_hosts = ["127.0.0.1"]\nallowed_ports = [{self.port}]\n'


@pytest.fixture
def web() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append((self.path, self.headers["host"]))
            if self.path == "/never":
                made.closing.wait()
                return
            if self.path == "/drip":
                while not made.closing.wait(0.05):
                    self.wfile.write(b"x")
                return
            status, headers, body = made.pages[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *words: None  # type: ignore[method-assign]  # who hangs up is no news
    made = Web(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    made.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


def download(client: Kit, image_id: str, uri: Any) -> Answer:
    return bring(client, image_id, {"method": {"name": "web-download", "uri": uri}})


def test_an_image_is_downloaded_from_where_its_operator_allows_it(tmp_path: Path, web: Web) -> None:
    web.pages["/disk?a=b"] = (200, {"Content-Length": str(len(DATA))}, DATA)
    web.pages["/moved"] = (302, {"Location": "/disk?a=b"}, b"")
    with kit_with(tmp_path, web.allowed) as kit:
        demo = kit.as_user("demo", "demo")
        image = make(demo)

        assert download(demo, image["id"], web.uri("/moved")).status == 202

        task = done(demo, image["id"])
        assert (task["status"], task["message"]) == ("success", "Copied 0 MiB")
        assert (show(demo, image["id"])["status"], show(demo, image["id"])["size"]) == ("active", len(DATA))
        assert demo.request("GET", f"/image/v2/images/{image['id']}/file").body == DATA
        assert web.asked == [("/moved", f"127.0.0.1:{web.port}"), ("/disk?a=b", f"127.0.0.1:{web.port}")]
        kit.cloud.stop_jobs()
        assert files(kit) == [image["id"]]


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0.0.0.0/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::1]/",
        "http://[fe80::1]/",
        "http://[fe80::1%25lo]/",
        "http://[fd00:ec2::254]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://172.24.4.1/",
        "http://192.168.0.1/",
        "http://100.64.0.1/",
        "http://192.0.2.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://nowhere.invalid/",
        "http://1.1.1.1:22/",
        "https://1.1.1.1:5000/",
        "http://user:secret@1.1.1.1/",
        "file:///etc/passwd",
        "ftp://1.1.1.1/disk",
        "//1.1.1.1/",
        "http:///disk",
        "http://1.1.1.1/a b",
        "http://1.1.1.1/\r\nHost: x",
        "http://1.1.1.1:x/",
        "http://[1.1.1.1/",
        "http://exämple.org/",
        "http://1.1.1.1/" + "x" * 3000,
        "",
        None,
        5,
        ["http://1.1.1.1/"],
    ],
)
def test_what_is_internal_is_not_reached(demo: Kit, uri: Any) -> None:
    image = make(demo)

    answer = download(demo, image["id"], uri)

    assert (answer.status, "does not pass filtering" in answer.text) == (400, True)
    assert show(demo, image["id"])["status"] == "queued"
    assert tasks_of(demo, image["id"]) == []


def test_an_address_of_the_machine_or_of_the_clouds_networks_outside_is_not_reached() -> None:
    outside = [ipaddress.ip_network("180.180.180.0/24"), ipaddress.ip_network("2600::/64")]

    assert fetch.is_reached("8.8.8.8", outside)
    assert fetch.is_reached("2600:1::1", outside)
    assert not fetch.is_reached("180.180.180.3", outside)
    assert not fetch.is_reached("2600::3", outside)
    assert fetch.is_own(ipaddress.ip_address("127.0.0.1"))
    assert not fetch.is_own(ipaddress.ip_address("8.8.8.8"))


def test_a_name_is_resolved_once(web: Web) -> None:
    web.pages["/disk"] = (200, {}, DATA)
    place = fetch.read("http://disks.invalid/disk", ImportFilter())
    pinned = fetch.Place(place.uri, place.scheme, place.host, web.port, place.target, ("127.0.0.1",))
    jobs = Jobs("test", 1)

    with fetch.opened(pinned, jobs, lambda uri: pinned, len(DATA), 30) as pieces:
        assert b"".join(pieces) == DATA

    assert web.asked == [("/disk", f"disks.invalid:{web.port}")]
    jobs.stop()


def test_of_a_name_with_an_internal_address_none_is_reached() -> None:
    place = fetch.read("http://localhost/disk", ImportFilter())

    with pytest.raises(BadRequest, match="does not pass filtering"):
        fetch.resolve(place, ImportFilter(disallowed_hosts=("elsewhere",)), [])
    with pytest.raises(BadRequest, match="does not pass filtering"):
        fetch.read("http://Elsewhere./", ImportFilter(disallowed_hosts=("elsewhere",)))


def test_a_download_that_goes_wrong_is_told_and_leaves_nothing(tmp_path: Path, web: Web) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        closed = deaf.getsockname()[1]
    web.pages |= {
        "/metadata": (302, {"Location": "http://169.254.169.254/latest/meta-data/"}, b""),
        "/neighbour": (307, {"Location": f"http://127.0.0.2:{web.port}/disk"}, b""),
        "/file": (301, {"Location": "file:///etc/passwd"}, b""),
        "/nowhere": (301, {}, b""),
        "/round": (302, {"Location": "/round"}, b""),
        "/missing": (404, {}, b"none"),
        "/short": (200, {"Content-Length": "100"}, b"x"),
        "/large": (200, {"Content-Length": str(2 << 20)}, b""),
        "/endless": (200, {}, b"x" * (2 << 20)),
        "/odd": (200, {"Content-Length": "4", "Transfer-Encoding": "chunked"}, b"zzzz"),
        "/qcow2": (200, {}, qcow2(backing=b"/etc/passwd")),
    }
    allowed = web.allowed.replace(f"[{web.port}]", f"[{web.port}, {closed}]")
    limits = "[image]\nimage_size_total = 1\nweb_download_timeout_s = 0.5\n"
    with kit_with(tmp_path, limits + allowed) as kit:
        demo = kit.as_user("demo", "demo")
        told = {}
        for path in (*web.pages, "/drip"):
            image = make(demo, path, disk_format="qcow2" if path == "/qcow2" else "raw")
            assert download(demo, image["id"], web.uri(path)).status == 202
            task = done(demo, image["id"])
            assert (task["status"], show(demo, image["id"])["status"]) == ("failure", "queued"), path
            told[path] = task["message"]
        image = make(demo)
        assert download(demo, image["id"], f"http://127.0.0.1:{closed}/").status == 202
        told["closed"] = done(demo, image["id"])["message"]
        kit.cloud.stop_jobs()
        assert files(kit) == []

    for path in ("/metadata", "/neighbour", "/file"):
        assert "does not pass filtering" in told.pop(path)
    assert "redirects more than" in told.pop("/round")
    assert "redirects more than" in told.pop("/nowhere")
    assert "answered 404" in told.pop("/missing")
    assert "promised 100" in told.pop("/short")
    assert "too large" in told.pop("/large") and "too large" in told.pop("/endless")
    assert "backing file" in told.pop("/qcow2")
    assert "cannot read from 127.0.0.1" in told.pop("closed")
    assert "cannot read from 127.0.0.1" in told.pop("/odd")
    assert "127.0.0.1" in told.pop("/drip")
    assert told == {}


def test_the_end_of_the_service_ends_a_download_and_its_next_start_forgets_it(tmp_path: Path, web: Web) -> None:
    with kit_with(tmp_path, web.allowed) as kit:
        demo = kit.as_user("demo", "demo")
        image = make(demo)
        download(demo, image["id"], web.uri("/never"))
        assert download(demo, image["id"], web.uri("/never")).status == 409
        whole = task(kit.as_user(), web.uri("/never"), disk_format="raw", container_format="bare").json
        while not web.asked:
            assert show(demo, image["id"])["status"] == "importing"

        kit.cloud.stop_jobs()

    again = make_kit(tmp_path)
    demo = again.as_user("demo", "demo")
    assert show(demo, image["id"])["status"] == "queued"
    assert (tasks_of(demo, image["id"])[0]["status"], files(again)) == ("failure", [])
    assert again.as_user().request("GET", f"/image/v2/tasks/{whole['id']}").json["status"] == "failure"
    assert again.as_user().request("GET", f"/image/v2/images/{whole['image_id']}").status == 404
    again.cloud.database.close()


def test_an_image_that_is_deleted_meanwhile_takes_no_data(tmp_path: Path, web: Web) -> None:
    with kit_with(tmp_path, web.allowed) as kit:
        demo = kit.as_user("demo", "demo")
        image = make(demo)
        download(demo, image["id"], web.uri("/never"))
        assert demo.request("DELETE", f"/image/v2/images/{image['id']}").status == 204
        web.closing.set()

        admin, path = kit.as_user(), f"/image/v2/tasks?image_id={image['id']}"
        wait_for("a task that failed", lambda: admin.request("GET", path).json["tasks"][0]["status"] == "failure")
        kit.cloud.stop_jobs()
        assert files(kit) == []


def task(client: Kit, uri: str, **properties: Any) -> Answer:
    given = {"import_from": uri, "import_from_format": "raw", "image_properties": properties}
    return client.request("POST", "/image/v2/tasks", {"type": "import", "input": given})


def test_a_task_makes_an_image_of_what_lies_elsewhere(tmp_path: Path, web: Web) -> None:
    web.pages["/disk"] = (200, {}, DATA)
    web.pages["/missing"] = (404, {}, b"")
    formats = {"disk_format": "raw", "container_format": "bare"}
    with kit_with(tmp_path, web.allowed) as kit:
        admin, demo = kit.as_user(), kit.as_user("demo", "demo")

        made = task(admin, web.uri("/disk"), name="n", visibility="public", **formats)

        assert (made.status, made.json["type"], made.json["image_id"]) == (201, "import", made.json["image_id"])
        assert made.headers["location"].endswith(f"/image/v2/tasks/{made.json['id']}")
        ended = done(admin, made.json["image_id"])
        assert (ended["status"], ended["result"]) == ("success", {"image_id": made.json["image_id"]})
        shown = show(demo, made.json["image_id"])
        assert (shown["name"], shown["status"], shown["size"]) == ("n", "active", len(DATA))
        lost = task(admin, web.uri("/missing"), protected=True, **formats).json
        path = f"/image/v2/tasks/{lost['id']}"
        wait_for("a task that failed", lambda: admin.request("GET", path).json["status"] == "failure")
        assert admin.request("GET", f"/image/v2/images/{lost['image_id']}").status == 404
        assert task(demo, web.uri("/disk"), **formats).status == 403
        assert task(admin, web.uri("/disk"), disk_format="qcow2", container_format="bare").status == 400
        assert task(admin, web.uri("/disk"), colour=5, **formats).status == 400
        refused = task(admin, "http://169.254.169.254/", **formats)
        assert (refused.status, "legacy import task does not pass filtering" in refused.text) == (400, True)
        given = made.json["input"]
        for body in (
            [], {}, {"type": "import"}, {"type": "import", "input": []}, {"type": "location_import", "input": given},
            {"type": "import", "input": given, "x": 1}, {"type": "import", "input": {**given, "x": 1}},
            {"type": "import", "input": {"import_from": web.uri("/disk")}},
            {"type": "import", "input": {**given, "image_properties": []}},
        ):  # fmt: skip
            assert admin.request("POST", "/image/v2/tasks", body).status == 400, body
        kit.cloud.stop_jobs()
        assert files(kit) == [made.json["image_id"]]
