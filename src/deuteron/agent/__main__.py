"""`python -m deuteron.agent --settings FILE`."""

import sys

# As in `deuteron.api`: structlog would load rich, which colours tracebacks on terminals.
sys.modules["rich"] = None  # type: ignore[assignment]  # the documented way to make an import fail

from deuteron.agent.main import main  # noqa: E402

main()
