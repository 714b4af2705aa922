"""The process that walks traces for the API: a question is a line, and so is its answer, until nobody asks any more.

The API starts it when somebody asks for a trace, and so never loads what plans hosts. It has no way to the cloud but
its two pipes, keeps what was planned for the next question, and may be ended at any moment.
"""

from __future__ import annotations

import sys
from typing import BinaryIO

import msgspec

from deuteron.model.intent import Snapshot
from deuteron.model.traces import FabricAnswer, FabricQuestion, Question, TraceAnswer, TracedHost, TraceQuestion
from deuteron.trace.asking import PROTOCOLS, Unfit, asked, told, world_of
from deuteron.trace.catalog import Catalog
from deuteron.trace.ends import AmbiguousEnd
from deuteron.trace.plotted import plotted
from deuteron.trace.seen import told_trace
from deuteron.trace.unknown import Unknown
from deuteron.trace.walk import NoSuchEnd
from deuteron.trace.world import Machine, gathered


class Walker:
    """Answers questions. A host is planned again only when something of it is another."""

    def __init__(self) -> None:
        self._known: dict[str, TracedHost] = {}
        self._machines: dict[str, Machine] = {}

    def answer(self, question: Question) -> TraceAnswer | FabricAnswer:
        if question.hosts is not None:
            self._plan(question.hosts)
        if isinstance(question, FabricQuestion):
            return FabricAnswer(tuple(plotted(machine) for machine in self._machines.values()))
        return self._traced(question)

    def _traced(self, question: TraceQuestion) -> TraceAnswer:
        catalog = Catalog(question.rows)
        what = asked(question.protocol, question.size_bytes)
        if what is None:
            return TraceAnswer(refused="unfit-end", message=f'"{question.protocol}" is no protocol: {PROTOCOLS}')
        world = world_of(
            self._machines, catalog, question.external, question.outside_wires, question.guests, question.silent
        )
        try:
            found = told(
                world, catalog, question.source, question.destination, what, question.address, question.gateway,
                question.own,
            )  # fmt: skip
        except AmbiguousEnd as error:
            return TraceAnswer(refused="ambiguous-end", message=str(error))
        except NoSuchEnd as error:
            return TraceAnswer(refused="no-such-end", message=str(error))
        except Unfit as error:
            return TraceAnswer(refused="unfit-end", message=str(error))
        except Unknown as error:
            # What it is may be others'.
            return TraceAnswer(refused="not-followed", message=str(error) if question.own is None else "")
        return TraceAnswer(told_trace(found, catalog, question.own))

    def _plan(self, hosts: tuple[TracedHost, ...]) -> None:
        kept: dict[str, Machine] = {}
        for host in hosts:
            name = host.settings.host
            if self._known.get(name) == host:
                kept[name] = self._machines[name]
            else:
                intent = msgspec.json.decode(host.intent, type=Snapshot)
                kept[name] = Machine(gathered(intent.revision, intent.objects), host.settings)
        self._known = {host.settings.host: host for host in hosts}
        self._machines = kept


def serve(asked: BinaryIO, answered: BinaryIO) -> None:
    """Answer every line of `asked`, until it ends."""
    walker = Walker()
    decoder = msgspec.json.Decoder(Question)
    for line in asked:
        answered.write(msgspec.json.encode(walker.answer(decoder.decode(line))) + b"\n")
        answered.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
