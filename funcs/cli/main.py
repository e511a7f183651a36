"""`funcs`: the command line's front door.

Law: a command's module is imported only when it runs, so `funcs --version` costs what it prints. Whatever goes wrong is
one message on standard error and an exit code; a traceback is shown only with `--debug`. IO: the terminal.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

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
    """Finds commands by name in `COMMANDS`; suggests the near miss; ends every run with one message and one code."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            sys.exit(super().main(*args, **extra | {"prog_name": "funcs", "standalone_mode": False}))
        except click.ClickException as error:
            _refuse(error)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(130)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            from .failing import fail

            fail(error, debug=ctx.params["debug"])

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
            if near and "Did you mean" not in error.message:
                raise click.UsageError(f"{error.message} Did you mean `{near[0]}`?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="funcs", message="%(prog)s %(version)s")
@click.option("--cluster", envvar="FUNCS_CLUSTER", default="default", show_default=True, help="The embedded cluster.")
@click.option("--debug", envvar="FUNCS_DEBUG", is_flag=True, help="Show where in the program an error came from.")
@click.pass_context
def cli(ctx: click.Context, cluster: str, debug: bool) -> None:
    """Serverless on your own machines: functions, builds and events, with nothing else installed."""
    from funcs.api.names import is_dns_label

    from .wiring import Wiring

    if not is_dns_label(cluster):
        raise click.BadParameter(f"{cluster!r} is not lower-case letters, digits and '-'", ctx, param_hint="--cluster")
    ctx.obj = Wiring(cluster=cluster, environ=dict(os.environ))


def main() -> None:
    """The console script."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `funcs list | head` ends quietly
    cli()


def _refuse(error: click.ClickException) -> NoReturn:
    """A wrong command line: what is wrong with it, and where the right ones are told."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        sys.exit(error.exit_code)
    click.echo(f"Error: {error.format_message()}", err=True)
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    click.echo(f"  → See `{ctx.command_path if ctx else 'funcs'} --help`.", err=True)
    sys.exit(error.exit_code)
