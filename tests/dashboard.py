"""The dashboard as tests go through it: logging in, its pages, what axe says of them, and pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from tests.browser import Browser
from tests.clouds import Cloud

AXE = (Path(__file__).with_name("axe") / "axe.min.js").read_text()
CURRENT = "return document.querySelector('nav a[aria-current=page]')?.textContent"
WHOLE = "Boolean(document.querySelector('.panel:not([aria-busy])')?.firstChild)"


def address(cloud: Cloud) -> str:
    endpoint: str = yaml.safe_load((cloud.state / "clouds.yaml").read_text())["clouds"]["demo"]["auth"]["auth_url"]
    return endpoint.rpartition("/identity")[0] + "/dashboard"


def log_in(cloud: Cloud, browser: Browser, who: str = "demo", password: str | None = None) -> None:
    """As a user of `clouds.yaml`, or with a password of one who is not there."""
    if password is None:
        auth = yaml.safe_load((cloud.state / "clouds.yaml").read_text())["clouds"][who]["auth"]
        password = auth["password"]
    browser.go("about:blank")
    browser.go(address(cloud))
    browser.script("sessionStorage.clear()")
    browser.go("about:blank")
    browser.go(address(cloud))
    browser.type("User", who)
    browser.type("Password", password)
    browser.press("Log in")
    browser.sees("What is used")


def open_page(browser: Browser, name: str) -> None:
    """One of the navigation."""
    browser.press(name, "link")
    browser.until(f"the page {name}", lambda: browser.script(CURRENT) == name)
    settled(browser)


def settled(browser: Browser) -> None:
    """Wait until the page that was gone to is there."""
    browser.until("the page is whole", lambda: browser.script(f"return {WHOLE}"))


def axe(browser: Browser, *rules: str) -> list[Any]:
    """What axe finds wrong with the page, by these rules or all."""
    browser.script(f"if (!window.axe) {{ {AXE}; window.axe = axe; }}")
    found = browser.later(
        "const [rules, done] = arguments; axe.run(document, rules.length ? { runOnly: rules } : {}).then((all) => "
        "done(all.violations.map((each) => [each.id, each.nodes.map((node) => node.html + node.failureSummary)])), "
        "(why) => done([String(why)]))",
        rules,
    )
    return list(found)


def cell(browser: Browser, row: str, column: int) -> str:
    """What a table says in the row of this name, in the column of this number."""
    look = (
        "const rows = [...document.querySelectorAll('tbody tr')];"
        "const row = rows.find((each) => each.cells[0].innerText === arguments[0]);"
        "return row?.cells[arguments[1] - 1]?.innerText ?? ''"
    )
    return str(browser.script(look, row, column))


def fact(browser: Browser, term: str) -> str:
    """What a page of one object says under this term; nothing where there is none."""
    look = (
        "const terms = [...document.querySelectorAll('.facts dt')];"
        "return terms.find((each) => each.innerText === arguments[0])?.nextElementSibling.innerText ?? ''"
    )
    return str(browser.script(look, term))


def picture(browser: Browser, name: str) -> None:
    """Of the page without its messages, which lie over it."""
    if folder := os.environ.get("DEUTERON_PICTURES"):
        browser.script("for (const each of document.querySelectorAll('.toast .close')) each.click()")
        (Path(folder) / f"dashboard-{name}.png").write_bytes(browser.picture())
