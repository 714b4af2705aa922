"""What `main` builds once and the API process holds. Rules never see it: they are passed what they need."""

from __future__ import annotations

from dataclasses import dataclass, field

from deuteron.api.jobs import Jobs
from deuteron.api.meter import Meter
from deuteron.api.policy import Policy
from deuteron.api.tracer import Tracer
from deuteron.hub.hub import Hub
from deuteron.hub.steps import Steps
from deuteron.model.settings import Settings
from deuteron.rules.identity.tokens import Tokens
from deuteron.store.database import Database


@dataclass
class Parts:
    settings: Settings
    database: Database
    policy: Policy
    tokens: Tokens
    hub: Hub
    meter: Meter = field(default_factory=Meter)
    steps: Steps | None = None
    """Of mechanisms, after commits; None in a process that makes nothing."""
    imports: Jobs = field(default_factory=lambda: Jobs("import", 2))
    """Of images: data that are here already."""
    downloads: Jobs = field(default_factory=lambda: Jobs("download", 32))
    """Of images: data that others send, as slowly as they like."""
    names: Jobs = field(default_factory=lambda: Jobs("resolve", 16))
    """Of hosts, which a name server somewhere may be slow to tell."""

    tracer: Tracer = field(default_factory=Tracer)

    def stop_jobs(self) -> None:
        """Before the database closes: what they have done is written by then, or never will be."""
        self.tracer.stop()
        self.names.stop()
        self.imports.stop()
        self.downloads.stop()
