"""`jevons`: one small file per command, imported only when its command runs.

What lives here: the list of commands and the one place where an error becomes a line for a person. To add a command,
write `cli/NAME.py` with a click command called `command`, and add its name to COMMANDS.
"""

import importlib
import importlib.util

import click

from jevons import __version__
from jevons.core.errors import JevonsError

COMMANDS = (
    "up",
    "demo",
    "serve",
    "keys",
    "plans",
    "customers",
    "log",
    "top",
    "explain",
    "report",
    "experiment",
    "reconcile",
    "export",
    "audit",
    "models",
    "model",
    "promote",
    "quantize",
    "bench",
    "engines",
    "capacity",
    "forecast",
    "prices",
    "migrate",
    "doctor",
)
"""In the order in which the help shows them. A name with a hyphen is the module with an underscore."""


class Lazy(click.Group):
    """A group that imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for name in COMMANDS if importlib.util.find_spec(_module(name)) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(_module(cmd_name)).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{_module(cmd_name)}.command is not a click command")
        command.name = cmd_name
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except JevonsError as error:
            raise click.ClickException(error.message) from None


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jevons")
def main() -> None:
    """The governor for AI products: a gateway that lowers what a task costs, and proves it."""


def _module(name: str) -> str:
    return f"{__name__}.{name.replace('-', '_')}"
