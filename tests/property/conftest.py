"""What holds for every property test."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def no_garbage() -> None:
    """Collected before, not while Hypothesis has the test's source parsed.

    What runs when garbage goes breaks the parser of Python 3.11 before 3.11.5: "SystemError: AST constructor recursion
    depth mismatch" (https://github.com/python/cpython/issues/106905).
    """
    gc.collect()
