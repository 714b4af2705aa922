"""Prints the pages that a Horizon has, as JSON: run by its own interpreter.

Each is a pattern of its address, from the root on, and its name.
"""

import json
import sys

import django
from django.urls import get_resolver, reverse


def walk(resolver, before=""):
    for each in resolver.url_patterns:
        pattern = before + str(each.pattern).replace("^", "").replace("$", "")
        if hasattr(each, "url_patterns"):
            yield from walk(each, pattern)
        else:
            yield pattern, each.name or ""


django.setup()
reverse("horizon:user_home")  # has it find its panels
json.dump(sorted(set(walk(get_resolver()))), sys.stdout)
