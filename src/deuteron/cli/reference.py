"""`docs/cli.md` from the commands' own declarations: `python -m deuteron.cli.reference > docs/cli.md`.

Pure: the same text for the same commands, whatever the terminal. A test compares the page with it.
"""

from __future__ import annotations

import re

import click

from deuteron.cli.main import deuteron


def describe() -> str:
    """The page."""
    parts = [
        "# The command `deuteron`",
        "Made from the commands by `python -m deuteron.cli.reference`; do not edit.",
        f"{deuteron.help} In a clone the program is `./deuteron`, which makes its own Python environment first; there "
        "`./deuteron test` runs the tests.",
        "Data goes to standard output, everything else to standard error. Exit status: 0 done, 1 refused or failed, "
        "2 wrong usage; `exec`, `shell` and `openstack` end with the status of what they ran.",
        _options(deuteron),
    ]
    for name, command in deuteron.commands.items():
        parts += [f"## {name}", f"    {_usage(name, command)}", *_paragraphs(command), _options(command)]
        if isinstance(command, click.Group):
            for inner, part in command.commands.items():
                words = f"{name} {inner}"
                parts += [f"### {words}", f"    {_usage(words, part)}", *_paragraphs(part), _options(part)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _usage(name: str, command: click.Command) -> str:
    words = ["deuteron", name]
    if isinstance(command, click.Group):
        return " ".join([*words, "COMMAND"])
    if any(isinstance(parameter, click.Option) for parameter in command.params):
        words.append("[OPTIONS]")
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            metavar = parameter.human_readable_name.upper() + ("..." if parameter.nargs == -1 else "")
            words.append(metavar if parameter.required else f"[{metavar}]")
    return " ".join(words)


def _paragraphs(command: click.Command) -> list[str]:
    return [re.sub(r"\s+", " ", text).strip() for text in (command.help or "").split("\n\n")]


def _options(command: click.Command) -> str:
    rows = []
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or parameter.hidden:
            continue
        spelled = ", ".join(f"`{name}`" for name in sorted(parameter.opts, key=len, reverse=True))
        if not parameter.is_flag:
            spelled += f" {_metavar(parameter)}"
        words = re.sub(r"\s+", " ", parameter.help or "")
        if parameter.show_default and parameter.default is not None:
            words += f" [default: {parameter.default}]"
        rows.append(f"- {spelled}: {words}")
    return "\n".join(rows)


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return " or ".join(str(choice) for choice in option.type.choices)
    return option.type.name.upper()


if __name__ == "__main__":
    print(describe(), end="")
