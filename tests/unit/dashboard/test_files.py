"""What browsers load of the dashboard: every file with its headers, and nothing in them that a text could make run."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest

from tests.unit.api_compute.harness import run, world

FOLDER = Path(__file__).parents[3] / "src" / "deuteron" / "dashboard"
FILES = sorted(
    str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.suffix in (".html", ".js", ".css", ".svg")
)
SCRIPTS = [name for name in FILES if name.endswith(".js")]
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
TEXTS_THAT_RUN = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "parseFromString", "createContextualFragment",
    "eval(", "new Function", "srcdoc", "setHTMLUnsafe", "javascript:", "importScripts", "document.cookie",
)  # fmt: skip


def test_the_files_are_there() -> None:
    assert len(SCRIPTS) > 5 and "index.html" in FILES


def test_every_file_is_served_with_its_headers(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for name in ("", *FILES):
                answer = await w.demo.request("GET", f"/dashboard/{name}")
                file = FOLDER / (name or "index.html")
                assert answer.status == 200, name
                assert answer.body == file.read_bytes() or file.name == "index.html", name
                assert answer.headers["content-type"].startswith(KINDS[file.suffix])
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "no-referrer"
                allowed = answer.headers["content-security-policy"].split("; ")
                assert "default-src 'none'" in allowed and "frame-ancestors 'none'" in allowed
                assert not re.search(r"unsafe|\*|data:|https?:", answer.headers["content-security-policy"])
                known = {"if-none-match": answer.headers["etag"]}
                again = await w.demo.request("GET", f"/dashboard/{name}", headers=known)
                assert (again.status, again.body) == (304, b"") and again.headers["etag"] == answer.headers["etag"]
                other = await w.demo.request("GET", f"/dashboard/{name}", headers={"if-none-match": '"another"'})
                assert other.status == 200

    run(test())


def test_the_page_runs_files_of_its_server_alone(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for path in ("/dashboard", "/dashboard/", "/dashboard/index.html"):
                page = await w.demo.request("GET", path, headers={"x-auth-token": ""})
                allowed = page.headers["content-security-policy"].split("; ")
                assert page.status == 200
                assert {"script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'"} <= set(
                    allowed
                )
                assert {"form-action 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"} <= set(
                    allowed
                )

    run(test())


def test_the_page_names_every_script_at_its_version(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            page = _Page()
            page.feed((await w.demo.request("GET", "/dashboard")).text)
            assert page.wrong == []
            versions = {each.split("/")[2] for each in page.asked}
            (version,) = versions
            named = {each.removeprefix(f"/dashboard/{version}/") for each in page.asked}
            assert {*SCRIPTS, "style.css", "icon.svg"} == named
            for each in page.asked:
                answer = await w.demo.request("GET", each)
                assert answer.body == (FOLDER / each.split("/", 3)[3]).read_bytes()
                assert "immutable" in answer.headers["cache-control"]
            for other in (
                f"/dashboard/{version}/index.html",
                f"/dashboard/{version}x/app.js",
                f"/dashboard/{version}/",
            ):
                assert (await w.demo.request("GET", other)).status == 404
            assert (await w.demo.request("GET", "/dashboard/app.js")).headers["cache-control"] == "no-cache"

    run(test())


def test_nothing_else_is_served(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for name in (
                "__init__.py",
                "panels",
                "panels/",
                "../api/main.py",
                "%2e%2e/api/main.py",
                "x.js",
                "\0",
                "<b>",
            ):
                answer = await w.demo.request("GET", f"/dashboard/{name}")
                assert answer.status == 404 and b"<b>" not in answer.body, name
                assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert (await w.demo.request("POST", "/dashboard/app.js", {})).status == 405

    run(test())


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.wrong += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        self.asked += [value for name in ("src", "href") if (value := given.get(name))]
        self._inside = tag if tag == "style" or (tag == "script" and "src" not in given) else ""

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.wrong.append(f"text in {self._inside}")


def test_the_page_has_no_script_style_or_handler_inside() -> None:
    page = _Page()
    page.feed((FOLDER / "index.html").read_text())
    assert page.wrong == []
    assert page.asked and all(each.removeprefix("/dashboard/") in FILES for each in page.asked)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_makes_no_markup_of_texts(name: str) -> None:
    text = re.sub(r"^\s*//.*$", "", (FOLDER / name).read_text(), flags=re.MULTILINE)
    assert [each for each in TEXTS_THAT_RUN if each in text] == []
    assert not re.search(r"setAttribute\(\s*[\"'](on|style|srcdoc)", text)
    assert not re.search(r"[\"'`]\s*on\w+\s*=\s*[\"'\\]", text), "a handler in a text"


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_import_is_of_a_file_and_of_what_it_exports(name: str) -> None:
    text = (FOLDER / name).read_text()
    found = re.findall(r"^(?:import|export)\s+(?:\{([^}]*)\}|\* as \w+|\w+)\s+from\s+\"([^\"]+)\";", text, re.MULTILINE)
    assert len(found) == len(re.findall(r"^(?:import|export)\b.*\bfrom\b", text, re.MULTILINE))
    for words, place in found:
        assert place.startswith("."), f"{place} is no file of ours"
        parts: list[str] = []
        for part in (PurePosixPath(name).parent / place).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        assert "/".join(parts) in SCRIPTS, place
        said = (FOLDER / "/".join(parts)).read_text()
        for word in (each.split(" as ")[0].strip() for each in words.split(",") if each.strip()):
            if word == "default":
                assert "export default" in said, place
            else:
                assert re.search(rf"^export (?:async )?(?:function|const|class|let) {word}\b", said, re.MULTILINE), word


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_short_enough_to_be_read(name: str) -> None:
    assert len((FOLDER / name).read_text().splitlines()) <= 400


def test_every_panel_says_where_it_is_found() -> None:
    listed = re.findall(r"default as (\w+) \} from \"\./([\w-]+\.js)\"", (FOLDER / "panels/index.js").read_text())
    shared = {"index.js"}
    assert {file for _, file in listed} <= {Path(name).name for name in SCRIPTS if name.startswith("panels/")} - shared
    sections = re.findall(r"\"([\w ]+)\"", re.findall(r"SECTIONS = \[(.*)\]", (FOLDER / "app.js").read_text())[0])
    found = []
    for _, file in listed:
        text = (FOLDER / "panels" / file).read_text()
        found += re.findall(r"id: \"([\w-]+)\"", text.partition("export default")[2])[:1]
        section = re.search(r"section: \"([\w ]+)\"", text)
        assert section and section[1] in sections, file
    assert len(found) == len(set(found)) == len(listed) > 0
