"""The tutorial `docs/learn`: chapters that are made from a running cloud. Pure; `cli/learn.py` runs them.

`chapters/*.md` are what people edit: prose, and commands in fenced blocks. `source` reads them, `names` and `stable`
make what commands print the same for each cloud, `pictures` and `drawing` draw.
"""
