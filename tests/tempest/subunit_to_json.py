"""Run by tempest's own Python: a subunit stream on stdin becomes one JSON object a line, for each test that ended.

`id`, `status` (success, fail, skip, ...) and `said`, the texts that the test attached, by name.
"""

import json
import sys

import subunit
import testtools


def write(test):
    if test["status"] in ("exists", "inprogress"):
        return
    said = {name: content.as_text() for name, content in test["details"].items() if content.content_type.type == "text"}
    print(json.dumps({"id": test["id"], "status": test["status"], "said": said}))


stream = testtools.StreamToDict(write)
stream.startTestRun()
subunit.ByteStreamToStreamResult(sys.stdin.buffer).run(stream)
stream.stopTestRun()
