"""Row types are what the declarations say, and rows are what their types say."""

from __future__ import annotations

from pathlib import Path

import pytest

from deuteron.model import rows

MODEL = Path(rows.__file__).parent


@pytest.mark.parametrize("service", rows.SERVICES)
def test_the_types_of_rows_are_what_the_declarations_say(service: str) -> None:
    # To mend: python -m deuteron.model.rows network > src/deuteron/model/network/rows.py
    assert (MODEL / service / "rows.py").read_text() == rows.describe(service)
