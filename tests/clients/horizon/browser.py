"""What a person does in Horizon's pages, without a screen: log in, look at a page, fill in a form, press a button.

A page is judged as it is read: its status, and its alerts, by which Horizon tells of what a service refused. What
scripts of a page would ask goes through `ask`, to Horizon's own API.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import requests

_NO_END = frozenset(("input", "img", "br", "hr", "link", "meta", "source", "col", "area", "base", "wbr"))
_TIMEOUT_S = 60.0


@dataclass
class Form:
    """What would be sent if one pressed the button right away."""

    action: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    choices: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each list to choose from, by name: its values, by what a person reads."""


@dataclass
class Page:
    url: str
    status: int
    text: str
    took_s: float
    alerts: list[tuple[str, str]] = field(default_factory=list)
    """Level (`danger`, `success`, …) and words."""
    forms: list[Form] = field(default_factory=list)
    words: str = ""
    """What a person reads."""
    faults: list[str] = field(default_factory=list)
    """What is said of fields that are filled in wrongly."""

    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def errors(self) -> list[str]:
        return [words for level, words in self.alerts if level == "danger"]


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page
        self._open: list[tuple[str, dict[str, str]]] = []
        self._said: list[str] = []
        self._collecting: list[tuple[int, str, list[str]]] = []  # depth, what for, words
        self._select: tuple[str, bool] | None = None
        self._option: tuple[str, bool] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        classes = told.get("class", "").split()
        if tag not in _NO_END:
            self._open.append((tag, told))
        if "alert" in classes:
            level = next((word[6:] for word in classes if word[:6] == "alert-" and word != "alert-dismissable"), "")
            self._collecting.append((len(self._open), level, []))
        elif "help-block" in classes and "alert" not in classes and self._is_wrong():
            self._collecting.append((len(self._open), "fault", []))
        if tag == "form":
            self._page.forms.append(Form(told.get("action", "").strip()))
        elif self._page.forms and any(name == "form" for name, _ in self._open):
            self._field(tag, told)

    def _is_wrong(self) -> bool:
        return any("has-error" in told.get("class", "") for _, told in self._open)

    def _field(self, tag: str, told: dict[str, str]) -> None:
        form, name = self._page.forms[-1], told.get("name", "")
        if tag == "input" and name and told.get("type") not in ("submit", "button", "file", "image"):
            if told.get("type") in ("checkbox", "radio") and "checked" not in told:
                return
            unsaid = "on" if told.get("type") == "checkbox" else ""
            form.fields.setdefault(name, []).append(told.get("value") or unsaid)
        elif tag == "select":
            self._select = (name, "multiple" in told)
            form.choices[name] = {}
        elif tag == "option" and self._select:
            self._option = (told.get("value", ""), "selected" in told)
            self._collecting.append((len(self._open), "option", []))
        elif tag == "textarea" and name:
            self._collecting.append((len(self._open), f"text {name}", []))

    def handle_endtag(self, tag: str) -> None:
        if not any(name == tag for name, _ in self._open):
            return
        while self._open:
            closed, _ = self._open.pop()
            while self._collecting and self._collecting[-1][0] > len(self._open):
                self._collected(*self._collecting.pop()[1:])
            if closed == "select":
                self._select = None
            if closed == tag:
                return

    def _collected(self, what: str, said: list[str]) -> None:
        words = " ".join("".join(said).split())
        if what == "option" and self._select and self._option:
            (name, is_multiple), (value, is_selected) = self._select, self._option
            form = self._page.forms[-1]
            form.choices[name][words] = value
            if is_selected or (not is_multiple and name not in form.fields):
                if is_multiple:
                    form.fields.setdefault(name, []).append(value)
                else:
                    form.fields[name] = [value]
        elif what.startswith("text "):
            self._page.forms[-1].fields[what[5:]] = ["".join(said).strip()]
        elif what == "fault":
            self._page.faults.append(words)
        elif words and "requires JavaScript" not in words:
            self._page.alerts.append((what, words))

    def handle_data(self, data: str) -> None:
        if any(name in ("script", "style") for name, _ in self._open):
            return
        self._said.append(data)
        for _, _, said in self._collecting:
            said.append(data)

    def close(self) -> None:
        super().close()
        self._page.words = " ".join("".join(self._said).split())


class Browser:
    """Somebody at a Horizon, logged in."""

    def __init__(self, address: str, user: str, password: str) -> None:
        self.address = address
        self._session = requests.Session()
        form = self.visit("/auth/login/").forms[0]
        told = {**form.fields, "username": [user], "password": [password]}
        self.home = self._read("POST", "/auth/login/", data=told)
        assert "/auth/login" not in self.home.url, f"{user} is not let in: {self.home.alerts} {self.home.faults}"

    def visit(self, path: str, *, is_modal: bool = False) -> Page:
        """A page, or what a script puts before it."""
        return self._read("GET", path, is_modal=is_modal)

    def look(self, path: str) -> Page:
        """A page that has to be there, and tells of nothing that failed."""
        page = self.visit(path)
        assert page.status == 200 and not page.errors, f"{path}: {page.status} {page.errors}"
        return page

    def fill(self, path: str, fields: Mapping[str, Any], *, form: str = "", files: Any = None) -> Page:
        """Open the page of a form, fill it in, and send it: what comes back says so, and of nothing that failed.

        A value in `fields` may be what a person reads in a list to choose from. The form is the last of the page, where
        the first are those of the frame, or the one whose action has the word `form`.
        """
        page = self.look(path)
        found = [each for each in page.forms if each.fields.get("csrfmiddlewaretoken") and form in each.action]
        assert found, f"{path} has no form {form!r}"
        chosen = found[-1]
        told = dict(chosen.fields)
        for name, value in fields.items():
            values = value if isinstance(value, list) else [value]
            told[name] = [chosen.choices.get(name, {}).get(str(each), str(each)) for each in values]
        return self._sent(path, self._read("POST", chosen.action or path, data=told, files=files))

    def press(self, path: str, action: str) -> Page:
        """A button of a table: `instances__stop__ID`."""
        page = self.look(path)
        assert f'value="{action}"' in page.text, f"{path} has no button {action}"
        token = next(form.fields["csrfmiddlewaretoken"] for form in page.forms if "csrfmiddlewaretoken" in form.fields)
        return self._sent(
            f"{path} {action}", self._read("POST", path, data={"csrfmiddlewaretoken": token, "action": action})
        )

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What a script of a page asks of Horizon's own API."""
        told = {"X-CSRFToken": self._session.cookies["csrftoken"], "X-Requested-With": "XMLHttpRequest"}
        url = self.address + "/api" + path
        answer = self._session.request(
            method, url, json=body, headers={**told, "Referer": url}, timeout=_TIMEOUT_S, allow_redirects=False
        )
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.text else None

    def download(self, path: str) -> requests.Response:
        return self._session.get(self.address + path, timeout=_TIMEOUT_S)

    def _sent(self, what: str, page: Page) -> Page:
        assert page.status == 200, f"{what}: {page.status} at {page.url}: {page.words[:300]}"
        assert not page.errors and not page.faults, f"{what}: {page.errors} {page.faults}"
        return page

    def _read(self, method: str, path: str, *, is_modal: bool = False, **more: Any) -> Page:
        url = path if path.startswith("http") else self.address + path
        headers = {"Referer": url, **({"X-Requested-With": "XMLHttpRequest"} if is_modal else {})}
        began = time.monotonic()
        answer = self._session.request(method, url, headers=headers, timeout=_TIMEOUT_S, **more)
        page = Page(answer.url, answer.status_code, answer.text, time.monotonic() - began)
        for level, words, *_ in json.loads(answer.headers.get("X-Horizon-Messages", "[]")):
            page.alerts.append(("danger" if level == "error" else level, words))
        if "html" in answer.headers.get("Content-Type", ""):
            reader = _Reader(page)
            reader.feed(re.sub(r"<script\b.*?</script>", "", answer.text, flags=re.DOTALL))
            reader.close()
        return page
