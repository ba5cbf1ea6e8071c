"""The help of every command, as the command line prints it at build time."""

import contextlib
import io
import os
from typing import Any
from unittest import mock

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

WIDTH = 92


class Commands(Directive):
    """`.. commands::`: a section for each command, in it one for each problem that has options of its own."""

    def run(self) -> list[nodes.Node]:
        """Ask the parser."""
        from torchrrm import cli

        sections: dict[str, nodes.section] = {}
        for problem, commands in cli.COMMANDS.items():
            for name in commands:
                if name not in sections:
                    sections[name] = _section(f"torchrrm {name}", _help([name]))
                else:
                    sections[name] += _section(
                        f"{name}, {problem}",
                        _help([name, "--problem", problem]),
                        shown=f"--problem {problem}",
                    )
        return list(sections.values())


def _section(title: str, text: str, shown: str | None = None) -> nodes.section:
    """A titled section of one help text."""
    section = nodes.section("", nodes.title("", shown or title), ids=[nodes.make_id(title)], names=[])
    section += nodes.literal_block(text, text, language="none")
    return section


def _help(arguments: list[str]) -> str:
    """What a command prints when asked for help."""
    from torchrrm import cli

    printed = io.StringIO()
    plain = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    with mock.patch.dict(os.environ, plain), contextlib.redirect_stdout(printed):
        try:
            cli.run([*arguments, "--help"])
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"torchrrm {' '.join(arguments)} --help: exit code {end.code}") from end
    return printed.getvalue()


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
