"""The dashboard when answers come late: who went on meanwhile stays where they are, and nothing is done twice or lost.

The page's own `fetch` is held back until a test lets a request go, so that what is late is late on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import needs
from tests.browser import Browser, browsing
from tests.clouds import Cloud, running
from tests.dashboard import CURRENT, log_in, open_page, settled

pytestmark = [needs.needs_program("chromium", "chromedriver"), pytest.mark.long]

HOLD = """
  window.held = [];
  window.holds = true;
  const real = window.fetch;
  window.fetch = (address, options = {}) => new Promise((resolve, reject) => {
    const go = () => real(address, options).then(resolve, reject);
    if (window.holds) window.held.push({ what: `${options.method} ${new URL(address, location.origin).pathname}`, go });
    else go();
  });
"""
HELD = "return window.held.map((each) => each.what)"
LET_GO = "window.holds = false; for (const each of window.held.splice(0)) each.go()"
LET_ONE_GO = "window.held.splice(arguments[0], 1)[0].go()"
SESSION = "return JSON.parse(sessionStorage.getItem('deuteron.session'))"
DIALOG = "return document.querySelector('dialog h2')?.textContent ?? null"
SCOPED = "POST /identity/v3/auth/tokens"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running("--dataplane", "none") as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as made:
        yield made


def hold(browser: Browser) -> None:
    settled(browser)
    browser.script(HOLD)


def let_go(browser: Browser) -> None:
    """All that is held, and nothing is held any more; once all of it is answered."""
    browser.script(LET_GO)
    idle = "const [done] = arguments; setTimeout(() => fetch('/dashboard').then(() => setTimeout(done, 100)), 100)"
    browser.later(idle)


def held(browser: Browser, *what: str) -> list[Any]:
    """The requests that are held, once these are among them."""

    def look() -> list[Any]:
        found = list(browser.script(HELD))
        return found if all(each in found for each in what) else []

    return list(browser.until(f"{what} are asked", look))


def project(browser: Browser) -> str:
    return str(browser.script(SESSION)["project"]["name"])


def test_what_is_asked_on_a_page_that_was_left_is_not_asked_on_the_next(cloud: Cloud, browser: Browser) -> None:
    log_in(cloud, browser)
    open_page(browser, "Routers")
    hold(browser)
    browser.press("Create router")
    held(browser, "GET /network/v2.0/subnets")
    browser.press("Networks", "link")
    browser.until("the page Networks", lambda: browser.script(CURRENT) == "Networks")
    let_go(browser)
    settled(browser)
    assert browser.script(DIALOG) is None
    assert browser.script("return document.querySelector('.toast')") is None, "nobody asked to hear of it"
    open_page(browser, "Routers")
    browser.press("Create router")
    browser.until("a form", lambda: browser.script(DIALOG) == "Create a router")
    browser.script("location.hash = '#/networks'")
    browser.until("it is closed with its page", lambda: browser.script(DIALOG) is None)


def test_two_clicks_are_one_request(cloud: Cloud, browser: Browser) -> None:
    log_in(cloud, browser)
    open_page(browser, "Floating IPs")
    hold(browser)
    browser.press("Allocate floating IP")
    browser.press("Allocate floating IP")
    asked = held(browser, "GET /network/v2.0/networks")
    # The page asks for them as well when it looks again, and then for the floating IPs, too.
    assert asked.count("GET /network/v2.0/networks") - asked.count("GET /network/v2.0/floatingips") == 1
    let_go(browser)
    browser.until("a form", lambda: browser.script(DIALOG) == "Allocate a floating IP")
    browser.press("Cancel")


def test_who_closes_a_form_while_it_is_being_done_is_told_what_became_of_it(cloud: Cloud, browser: Browser) -> None:
    log_in(cloud, browser)
    open_page(browser, "Networks")
    for address, words in (("10.89.0.0/24", "The network is created."), ("10.89.0.0/40", "10.89.0.0/40")):
        browser.press("Create network")
        browser.type("Network name", "late")
        browser.type("Network address", address)
        hold(browser)
        browser.press("Create")
        held(browser, "POST /network/v2.0/networks")
        browser.press("Cancel")
        browser.until("it is closed", lambda: browser.script(DIALOG) is None)
        let_go(browser)
        told = "return [...document.querySelectorAll('.toast')].map((each) => each.textContent).join()"
        browser.until(words, lambda words=words, told=told: words in browser.script(told))
        browser.sees("10.89.0.0/24")
    open_page(browser, "Key pairs")
    browser.press("Create key pair")
    browser.type("Name", "late")
    hold(browser)
    browser.press("Create")
    held(browser, "POST /compute/v2.1/os-keypairs")
    browser.press("Cancel")
    browser.until("it is closed", lambda: browser.script(DIALOG) is None)
    let_go(browser)
    browser.sees("Nobody else has it")
    browser.press("Close")
    browser.complaints()  # the browser names each 400


def test_who_logs_out_while_another_project_is_entered_is_out(cloud: Cloud, browser: Browser) -> None:
    log_in(cloud, browser, "admin")
    hold(browser)
    browser.choose("Project", "demo")
    held(browser, SCOPED)
    browser.press("Log out")
    browser.sees("Password")
    let_go(browser)
    assert browser.script(SESSION) is None
    assert browser.script("return document.querySelector('form.login') != null")


def test_of_two_projects_that_are_chosen_the_last_is_entered(cloud: Cloud, browser: Browser) -> None:
    log_in(cloud, browser, "admin")
    hold(browser)
    browser.choose("Project", "demo")
    held(browser, SCOPED)
    browser.choose("Project", "admin")
    browser.until("both are asked for", lambda: browser.script(HELD).count(SCOPED) == 2)
    second = browser.script(HELD).index(SCOPED, browser.script(HELD).index(SCOPED) + 1)
    browser.script(LET_ONE_GO, second)
    let_go(browser)
    assert project(browser) == "admin"
    assert browser.script("return document.querySelector('header select').selectedOptions[0].textContent") == "admin"


def test_what_is_done_in_several_requests_is_done_in_one_project(cloud: Cloud, browser: Browser) -> None:
    log_in(cloud, browser, "admin")
    open_page(browser, "Networks")
    browser.press("Create network")
    browser.type("Network name", "both")
    browser.type("Network address", "10.90.0.0/24")
    hold(browser)
    browser.press("Create")
    held(browser, "POST /network/v2.0/networks")
    # As when it was chosen before the form was sent.
    change = "const select = document.querySelector('header select'); select.value = [...select.options]"
    browser.script(f"{change}.find((each) => each.label === 'demo').value; select.dispatchEvent(new Event('change'))")
    held(browser, SCOPED)
    browser.script(LET_ONE_GO, browser.script(HELD).index(SCOPED))
    browser.until("the other project", lambda: project(browser) == "demo")
    let_go(browser)
    api = cloud.connect("admin")
    made = browser.until("the network", lambda: api.network.find_network("both"))
    subnets = browser.until("its subnet", lambda: list(api.network.subnets(network_id=made.id)))
    assert {subnets[0].project_id, made.project_id} == {api.current_project_id}
