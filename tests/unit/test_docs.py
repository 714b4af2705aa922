"""Documents that are made from declarations are fresh, and what documents point to exists."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from deuteron.api import compute, identity, image, network, volume
from deuteron.api.compute import actions, guests, versions
from deuteron.cli import reference
from deuteron.net import pipeline
from tests.coverage.words import paragraphs

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "learn").glob("*.md")),
    *sorted((ROOT / "decisions").glob("*.md")),
]


def test_the_pipeline_page_is_what_the_declaration_says() -> None:
    assert (ROOT / "docs" / "pipeline.md").read_text() == pipeline.describe()


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    # To mend: python -m deuteron.cli.reference > docs/cli.md
    assert (ROOT / "docs" / "cli.md").read_text() == reference.describe()


@pytest.mark.parametrize("service", [identity, network, image, volume, compute], ids=lambda module: module.__name__)
def test_the_page_of_the_apis_names_every_resource_that_has_a_route(service: ModuleType) -> None:
    page = (ROOT / "docs" / "api-coverage.md").read_text()
    paths = [route.path.split("/") for route in service.SERVICE().routes()]
    resources = {path[2] for path in paths if len(path) > 2 and path[1].startswith("v")}
    assert len(resources) > 2
    assert sorted(name for name in resources if f"`{name}`" not in page) == []


def chapter(title: str) -> dict[str, str]:
    """Paragraphs of a chapter of the page of the APIs, by their first word or two: `There`, `Recorded`, …"""
    return {paragraph.split(":")[0]: paragraph for paragraph in paragraphs(title)}


ACTIONS = {
    "os-stop": "stop", "os-start": "start", "reboot": "reboot soft and hard", "pause": "pause", "unpause": "pause",
    "suspend": "suspend", "resume": "suspend", "lock": "lock", "unlock": "lock", "rebuild": "rebuild",
    "os-resetState": "reset state", "forceDelete": "force delete", "addSecurityGroup": "security groups",
    "removeSecurityGroup": "security groups", "createImage": "images and backups",
    "createBackup": "images and backups", "rescue": "rescue", "unrescue": "rescue", "resize": "resize",
    "confirmResize": "resize", "revertResize": "resize", "shelve": "shelve", "shelveOffload": "shelve",
    "unshelve": "shelve", "evacuate": "evacuation", "migrate": "cold migration",
    "os-migrateLive": "live migration", "addFloatingIp": "floating IPs", "removeFloatingIp": "floating IPs",
    "injectNetworkInfo": "injecting network information",
    "restore": "restore", "addFixedIp": "addresses given to servers", "removeFixedIp": "addresses given to servers",
    "trigger_crash_dump": "crash dumps", "changePassword": "setting passwords",
}  # fmt: skip
"""What the page calls each action of a server that is there."""


def test_the_page_of_the_apis_says_of_every_action_of_a_server_that_it_is_there() -> None:
    there = chapter("Compute v2.1")["There"]
    assert actions.ACTIONS.keys() | guests.ACTIONS.keys() == ACTIONS.keys()
    assert [name for name, words in ACTIONS.items() if words not in there] == []
    heading = (ROOT / "docs" / "api-coverage.md").read_text()
    assert f"microversions 2.{versions.MINIMUM} to 2.{versions.MAXIMUM}" in heading


@pytest.mark.parametrize(
    ("service", "title"),
    [
        (identity, "Identity v3"),
        (network, "Network v2.0"),
        (image, "Image v2"),
        (volume, "Block Storage v3"),
        (compute, "Compute v2.1"),
    ],
    ids=lambda item: getattr(item, "__name__", item),
)
def test_what_the_page_of_the_apis_says_is_there_has_a_route_and_is_asked_for_in_a_test(
    service: ModuleType, title: str
) -> None:
    segments = {part for route in service.SERVICE().routes() for part in route.path.split("/")}
    named = set(re.findall(r"`([\w-]+)`", chapter(title)["There"])) - WORDS
    assert sorted(named - segments) == [], "named, and no route has it"
    tests = "\n".join(
        path.read_text()
        for path in (ROOT / "tests").rglob("*")
        if path.suffix in (".py", ".yaml") and path.name != "test_docs.py"
    )
    assert sorted(name for name in named if f"/{name}" not in tests) == [], "named, and no test asks for it"


WORDS = {"If-Match"}
"""What the page puts between backticks that is no resource."""


def test_links_in_documents_lead_somewhere() -> None:
    links = [
        (document, *found)
        for document in DOCUMENTS
        for found in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", without_code(document.read_text()))
    ]
    assert len(links) > 20
    lost = []
    for document, target, anchor in links:
        led_to = document.parent / target if target else document
        if not led_to.exists() or (anchor and anchor not in anchors(led_to)):
            lost.append(f"{document.name}: {target}#{anchor}")
    assert lost == []


def without_code(text: str) -> str:
    """A document without what stands between backticks, which may look like a link."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(document: Path) -> set[str]:
    """What its headings are called in links."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_source_files_that_documents_name_exist() -> None:
    rooms = "|".join(path.name for path in (ROOT / "src" / "deuteron").iterdir() if path.is_dir())
    named = {
        (document.name, name)
        for document in DOCUMENTS
        for name in re.findall(rf"`((?:{rooms})/[\w./]+)`", document.read_text())
    }
    assert len(named) > 10
    assert sorted(each for each in named if not (ROOT / "src" / "deuteron" / each[1]).exists()) == []


def test_tests_that_documents_name_exist() -> None:
    named = {
        (document.name, file, test)
        for document in DOCUMENTS
        for file, test in re.findall(r"`tests/([\w/]+\.(?:py|yaml))(?:::(\w+))?`", document.read_text())
    }
    assert len(named) > 30
    tests = ROOT / "tests"
    assert [each for each in sorted(named) if not (tests / each[1]).exists()] == []
    assert [each for each in sorted(named) if each[2] and f"def {each[2]}(" not in (tests / each[1]).read_text()] == []


def test_every_attack_that_the_page_on_security_names_is_there_and_every_one_there_is_named() -> None:
    named = set(re.findall(r"`(?:[\w/]+/)?(test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / "security.md").read_text()))
    there = {
        path: {(path.name, name) for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    attacks = {each for path, names in there.items() if path.parent.name == "hostile" for each in names}
    assert named - {each for names in there.values() for each in names} == set(), "the page promises what nothing holds"
    assert attacks - named == {("test_tokens.py", "test_a_good_token_opens_every_door")}


def pieces_of_code(page: str) -> list[tuple[str, str]]:
    """The indented blocks that begin with the path of a file: the path, and what the file is said to hold."""
    found = []
    for block in re.findall(r"(?:^(?:    .*)?\n)+", page, re.MULTILINE):
        lines = [line[4:] for line in block.strip("\n").splitlines()]
        if lines and (named := re.fullmatch(r"# (examples/\S+)", lines[0])):
            found.append((named[1], "\n".join(lines[1:]).strip("\n")))
    return found


def test_the_walk_through_a_mechanism_shows_what_the_example_is() -> None:
    pieces = pieces_of_code((ROOT / "docs" / "write-a-mechanism.md").read_text())
    assert len(pieces) >= 8
    wrong = [f"{path}: {piece.splitlines()[0]}" for path, piece in pieces if piece not in (ROOT / path).read_text()]
    assert wrong == []
