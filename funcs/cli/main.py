"""`funcs`: the command line's front door.

Law: a command's module is imported only when it runs, so `funcs --version` costs what it prints; errors of the family
become one clear message on standard error and an exit code. IO: the terminal.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

import click

from funcs.errors import FuncsError
from funcs.version import __version__

# name → (module, one-line help): the help text is here so that `funcs --help` imports no command
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("up", "Start the embedded platform."),
    "down": ("down", "Stop the embedded platform."),
    "status": ("status", "Show what runs and where it listens."),
    "doctor": ("doctor", "Check what this machine can do for the platform."),
    "create": ("create", "Create a function from a template."),
    "build": ("build", "Build a function's image."),
    "deploy": ("deploy", "Build, push and run a function."),
    "invoke": ("invoke", "Send a request or an event to a function."),
    "list": ("list", "List functions."),
    "describe": ("describe", "Show one function."),
    "logs": ("logs", "Print a function's log."),
    "delete": ("delete", "Delete a function."),
    "subscribe": ("subscribe", "Have a broker's events sent to a function."),
    "version": ("version", "Print the version."),
    "git-credential": (
        "git_credential",
        "Answer git's questions about the embedded git server (a git credential helper).",
    ),
}
ALIASES = {"new": "create", "ls": "list", "rm": "delete", "info": "describe", "desc": "describe"}
_HIDDEN = ("git-credential",)


class LazyGroup(click.Group):
    """Finds commands by name in `COMMANDS`; suggests the near miss."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if name not in _HIDDEN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        found: click.Command = import_module(f"funcs.cli.{COMMANDS[name][0]}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], [*COMMANDS, *ALIASES], n=1) if args else []
            if near:
                raise click.UsageError(f"{error.message} Did you mean `{near[0]}`?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="funcs", message="%(prog)s %(version)s")
@click.option("--cluster", envvar="FUNCS_CLUSTER", default="default", show_default=True, help="The embedded cluster.")
@click.pass_context
def cli(ctx: click.Context, cluster: str) -> None:
    """Serverless on your own machines: functions, builds and events, with nothing else installed."""
    from funcs.cli.wiring import Wiring

    ctx.obj = Wiring(cluster=cluster, environ=dict(os.environ))


def main() -> None:
    """The console script."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `funcs list | head` ends quietly
    try:
        sys.exit(cli(standalone_mode=False))
    except FuncsError as error:
        fail(error)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def fail(error: FuncsError) -> None:
    """Message, causes and hint on standard error; then the exit code of the error's class."""
    from funcs.cli.exits import exit_code

    click.echo(f"Error: {error.message}", err=True)
    if error.hint:
        click.echo(f"  → {error.hint}", err=True)
    sys.exit(exit_code(error))
