"""`python -m deuteron.api`."""

import sys

# structlog colours tracebacks with rich when it finds it. A daemon's log is not a terminal, and rich would cost each
# process 5 MB and 0.15 s of its start.
sys.modules["rich"] = None  # type: ignore[assignment]  # the documented way to make an import fail

from deuteron.api.main import main  # noqa: E402

main()
