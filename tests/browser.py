"""A real browser for tests: Chromium without a screen, asked over WebDriver, which is JSON over HTTP.

A person is what a test plays: it finds things by the words of their labels, as somebody with a screen reader does, and
types, chooses and presses. Files are chosen by their path.

Source: W3C WebDriver; chromedriver's `goog/cdp/execute`.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FIND = Path(__file__).with_name("browser.js").read_text()
_START_S = 60


class NotThere(AssertionError):
    """What a person looked for is not on the page."""


@dataclass(frozen=True)
class Browser:
    """One window. `driver` is the address of its session."""

    driver: str

    def command(self, method: str, path: str, body: Any = None, timeout_s: float = 60) -> Any:
        """What the driver answers. Raises: AssertionError with its words."""
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.driver + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                request, timeout=timeout_s
            ) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise AssertionError(f"{path}: {value['error']}: {value['message']}") from None

    def go(self, address: str) -> None:
        self.command("POST", "/url", {"url": address})

    def script(self, text: str, *arguments: Any) -> Any:
        return self.command("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def later(self, text: str, *arguments: Any) -> Any:
        """The result of a script that calls its last argument with it."""
        return self.command("POST", "/execute/async", {"script": text, "args": list(arguments)})

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.command("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    @property
    def text(self) -> str:
        return str(self.script("return document.body.innerText"))

    def sees(self, words: str, timeout_s: float = 20) -> None:
        """Wait until the page says so."""
        self.until(f"the page says {words!r}", lambda: words in self.text, timeout_s)

    def until(self, what: str, look: Callable[[], Any], timeout_s: float = 20) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (found := look()):
            if time.monotonic() > deadline:
                raise NotThere(
                    f"{what}: not within {timeout_s:.0f} s; the page says:\n{self.text}\n{self.complaints()}"
                )
            time.sleep(0.05)
        return found

    def _find(self, role: str, name: str, timeout_s: float = 20) -> dict[str, str]:
        found: dict[str, str] = self.until(
            f"a {role} called {name!r}", lambda: self.script(_FIND + "return find(...arguments)", role, name), timeout_s
        )
        return found

    def press(self, name: str, role: str = "button") -> None:
        """Press what is called so: a button, a link, a checkbox."""

        def click() -> bool:
            # What is redrawn in between is looked for again.
            try:
                self.command("POST", f"/element/{self._find(role, name)[ELEMENT]}/click")
            except AssertionError as error:
                if isinstance(error, NotThere) or not ("stale" in str(error) or "intercepted" in str(error)):
                    raise
                return False
            return True

        self.until(f"{name!r} is pressed", click)

    def type(self, name: str, text: str, *, clear: bool = True) -> None:
        element = self._find("field", name)[ELEMENT]
        if clear:
            self.command("POST", f"/element/{element}/clear")
        self.command("POST", f"/element/{element}/value", {"text": text})

    def attach(self, name: str, path: Path) -> None:
        self.command("POST", f"/element/{self._find('field', name)[ELEMENT]}/value", {"text": str(path)})

    def choose(self, name: str, option: str) -> None:
        """The option of a select whose words begin so."""
        self._find("field", name)
        self.until(
            f"an option {option!r} of {name!r}",
            lambda: self.script(_FIND + "return choose(find('field', arguments[0]), arguments[1])", name, option),
        )

    def keys(self, text: str) -> None:
        """Press keys, wherever the focus is."""
        actions = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        self.command("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def windows(self) -> list[str]:
        return list(self.command("GET", "/window/handles"))

    def look_at(self, window: str) -> None:
        self.command("POST", "/window", {"handle": window})

    def close_window(self) -> None:
        self.command("DELETE", "/window")

    def complaints(self) -> list[str]:
        """The errors in the page's console since it was last asked; pages of guests' consoles have no icon."""
        entries = self.command("POST", "/se/log", {"type": "browser"})
        said = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
        return [message for message in said if "/favicon.ico" not in message]

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )

    def scheme(self, dark: bool) -> None:
        """What the system prefers."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def picture(self) -> bytes:
        return base64.b64decode(self.command("GET", "/screenshot"))


@contextmanager
def browsing(*arguments: str) -> Iterator[Browser]:
    """A browser of one's own, with a profile that is new, ended after."""
    folder = Path(tempfile.mkdtemp(prefix="deuteron-browser-"))
    port = _free_port()
    with (folder / "driver.log").open("wb") as log:
        environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
        driver = subprocess.Popen(
            ["chromedriver", f"--port={port}", "--allowed-ips=127.0.0.1"], stdout=log, stderr=log, env=environment,
            start_new_session=True,
        )  # fmt: skip
    base = Browser(f"http://127.0.0.1:{port}")
    browser = None
    try:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                base.command("GET", "/status")
                break
            except OSError:
                assert driver.poll() is None and time.monotonic() < deadline, (folder / "driver.log").read_text()
                time.sleep(0.05)
        # Its own sandbox needs what a container's root has not; the pages are ours.
        given = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--no-proxy-server", "--disable-background-networking", "--window-size=1280,900",
                 f"--user-data-dir={folder / 'profile'}", *arguments]  # fmt: skip
        wanted = {"goog:chromeOptions": {"args": given}, "goog:loggingPrefs": {"browser": "ALL"}}
        made = base.command("POST", "/session", {"capabilities": {"alwaysMatch": wanted}}, timeout_s=_START_S)
        browser = Browser(f"{base.driver}/session/{made['sessionId']}")
        yield browser
    finally:
        if browser is not None:
            browser.command("DELETE", "")
        driver.terminate()
        driver.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
