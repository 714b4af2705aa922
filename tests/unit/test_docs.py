"""Documents that are made from declarations are fresh, and what documents point to exists."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from deuteron.api import compute, identity, image, network
from deuteron.cli import reference
from deuteron.net import pipeline

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "decisions").glob("*.md")),
]


def test_the_pipeline_page_is_what_the_declaration_says() -> None:
    assert (ROOT / "docs" / "pipeline.md").read_text() == pipeline.describe()


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    # To mend: python -m deuteron.cli.reference > docs/cli.md
    assert (ROOT / "docs" / "cli.md").read_text() == reference.describe()


@pytest.mark.parametrize("service", [identity, network, image, compute], ids=lambda module: module.__name__)
def test_the_page_of_the_apis_names_every_resource_that_has_a_route(service: ModuleType) -> None:
    page = (ROOT / "docs" / "api-coverage.md").read_text()
    paths = [route.path.split("/") for route in service.SERVICE().routes()]
    resources = {path[2] for path in paths if len(path) > 2 and path[1].startswith("v")}
    assert sorted(name for name in resources if f"`{name}`" not in page) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_source_files_that_documents_name_exist(document: Path) -> None:
    named = re.findall(r"`((?:api|net|store|model|agent|compute|guest|sandbox|cli)/[\w./]+)`", document.read_text())
    assert [name for name in named if not (ROOT / "src" / "deuteron" / name).exists()] == []


def test_every_attack_that_the_page_on_security_names_is_there_and_every_one_there_is_named() -> None:
    named = set(re.findall(r"`(?:[\w/]+/)?(test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / "security.md").read_text()))
    there = {
        path: {(path.name, name) for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    attacks = {each for path, names in there.items() if path.parent.name == "hostile" for each in names}
    assert named - {each for names in there.values() for each in names} == set(), "the page promises what nothing holds"
    assert attacks - named == {("test_tokens.py", "test_a_good_token_opens_every_door")}
