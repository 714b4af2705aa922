"""The official client as a process that runs many commands: it starts once, which takes longer than most of them.

Reads lines of JSON, each a list of arguments, and answers each with a line: the exit status, and what was printed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys


def main() -> None:
    client = importlib.import_module("openstackclient.shell")
    answers = sys.stdout
    for line in sys.stdin:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                status = client.main(json.loads(line))
            except SystemExit as ended:
                status = ended.code
        answers.write(json.dumps([status, printed.getvalue()]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
