"""Both services beside each other: every request goes to each, in its own names, and the answers are compared.

A request names objects by `Ref`: the n-th of a kind that both have made. So a sequence of requests is plain data that
can be cut and shrunk, and still says something.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.oracle.neutron import Neutron
from tests.oracle.reasons import GENERATED, Reason
from tests.oracle.sameness import Answer, Difference, Twins, differences
from tests.unit.api_network.harness import ZERO, Client

_OWN_PATH = re.compile(r"/v2\.0/(?!agents/|flavors/\{\}/).*/\{\}")
"""Of an object itself, and not of what it has to do with another."""


_ON_SEVERAL_HOSTS = r'"ha": (true|"true"|1|"1")(?=[,}])'
"""What a body says of a router for which Neutron makes a network that nobody asked for, whatever it then says."""


@dataclass(frozen=True)
class Ref:
    """The `number`-th object of a kind, counted round; an id that nobody has, when there is none."""

    kind: str
    number: int = 0


@dataclass(frozen=True)
class Request:
    """`path` holds `{}` for each of `refs`; `makes` is the kind of which a 201 brings objects."""

    method: str
    path: str
    body: Any = None
    user: str = "admin"
    refs: tuple[Ref, ...] = ()
    makes: str = ""

    @property
    def step(self) -> str:
        """What the request does, for patterns of reasons: `PUT ports/{}`; of a list of objects `POST ports several`."""
        step = f"{self.method} {self.path.split('?')[0].removeprefix('/v2.0/')}"
        inner = next(iter(self.body.values())) if isinstance(self.body, dict) and len(self.body) == 1 else None
        return f"{step} several" if self.method == "POST" and isinstance(inner, list) else step


@dataclass
class Both:
    """`said` are the requests so far, as they were sent to Neutron, and what it answered."""

    neutron: Neutron
    client: Client
    twins: Twins = field(default_factory=Twins)
    made: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    compared: int = 0
    diverged: bool = False
    """Whether one did what the other refused: nothing can be compared from there on."""

    def know(self, kind: str, theirs: str, ours: str) -> None:
        """Both have this object, without a request that made it."""
        self.twins.pair(theirs, ours)
        self.made.setdefault(kind, []).append((theirs, ours))

    def ask(self, request: Request) -> list[tuple[Difference, str | None]]:
        """What differs, each with its reason or None."""
        sent, here = (self._filled(request, side) for side in (0, 1))
        self.twins.asking(*sent)
        theirs = self.neutron.call(request.method, sent[0], sent[1], request.user)
        told = self.client.call(request.method, here[0], here[1], request.user)
        ours = Answer(told.status, told.body)
        self.compared += 1
        self.said.append(
            f"{request.user}: {request.method} {sent[0]} {'' if sent[1] is None else sent[1]} -> {theirs.status}"
        )
        order = [value for name, value in parse_qsl(urlsplit(sent[0]).query) if name == "sort_key"]
        found = differences(theirs, ours, self.twins, order)
        if theirs.status < 300 and ours.status < 300:
            self._remember(request, theirs.body, ours.body)
        elif (theirs.status < 300) != (ours.status < 300):
            self.diverged = request.method != "GET"
        reasons = [self._reason(request, each, *sent) for each in found]
        self.diverged = self.diverged or any(reason is not None and reason.ends for reason in reasons)
        if "auto-allocated-topology" in request.path and request.method == "DELETE" and theirs.status == 403:
            self.diverged = True  # it looked for what is to go as one who asks for it, and so made it
        if request.step == "POST networks" and (
            theirs.status >= 404 or (theirs.status == 400 and ('"mtu"' in json.dumps(sent) or _is_late(theirs)))
        ):
            self.diverged = True  # what is refused so late leaves the default group of the project that it was for
        if request.step == "POST routers" and re.search(_ON_SEVERAL_HOSTS, json.dumps(sent[1])):
            self.diverged = True
        return [(each, reason and reason.why) for each, reason in zip(found, reasons, strict=True)]

    def _reason(self, request: Request, found: Difference, path: str, sent: Any) -> Reason | None:
        body, query = json.dumps(sent), urlsplit(path).query
        there, here = found.told
        for reason in GENERATED:
            if reason.explains(request.step, found.place, there, here, request.user, body, query):
                return reason
        return None

    def _remember(self, request: Request, theirs: Any, ours: Any) -> None:
        if request.method == "DELETE" and re.fullmatch(_OWN_PATH, request.path):
            kind = request.refs[-1].kind
            gone = self._ids(request.refs[-1])
            self.made[kind] = [ids for ids in self.made.get(kind, []) if ids != gone]
        if request.makes and isinstance(theirs, dict) and isinstance(ours, dict):
            (there,), (here,) = theirs.values(), ours.values()
            several = isinstance(there, list)
            for one, other in zip(there if several else [there], here if several else [here], strict=True):
                self.made.setdefault(request.makes, []).append((one["id"], other["id"]))
        made = theirs.get("auto_allocated_topology") if isinstance(theirs, dict) else None
        if made is not None and not made["id"].startswith("dry-run"):
            found = (made["id"], ours["auto_allocated_topology"]["id"])
            if found not in self.made.setdefault("network", []):
                self.made["network"].append(found)
        if isinstance(theirs, dict) and "port_id" in theirs and "add_router_interface" in request.path:
            self.made.setdefault("port", []).append((theirs["port_id"], ours["port_id"]))

    def _ids(self, ref: Ref) -> tuple[str, str]:
        known = self.made.get(ref.kind)
        return known[ref.number % len(known)] if known else (ZERO, ZERO)

    def _filled(self, request: Request, side: int) -> tuple[str, Any]:
        path = request.path.format(*(self._ids(ref)[side] for ref in request.refs))
        return path, self._body(request.body, side)

    def _body(self, value: Any, side: int) -> Any:
        if isinstance(value, Ref):
            return self._ids(value)[side]
        if isinstance(value, dict):
            return {name: self._body(item, side) for name, item in value.items()}
        return [self._body(item, side) for item in value] if isinstance(value, list) else value


def _is_late(answer: Answer) -> bool:
    """Whether what is refused is what types of networks say of segments, after everything else was looked at."""
    error = answer.body.get("NeutronError") if isinstance(answer.body, dict) else None
    return isinstance(error, dict) and error["type"] != "HTTPBadRequest"
