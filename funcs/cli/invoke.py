"""`funcs invoke`."""

from __future__ import annotations

import re
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import click

from funcs.errors import FuncsError, Invalid, NotFound

from .wiring import Wiring, namespace_option, pass_wiring, say

if TYPE_CHECKING:
    from funcs.deploy.invoke import Message

_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")


@click.command("invoke")
@click.argument("target", default="")
@click.argument("data", default="")
@namespace_option
@click.option("-X", "--request", "method", default="", help="POST with data, GET without.")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME:VALUE")
@click.option("--path", "path", default="/", show_default=True, help="Path and query.")
@click.option("--content-type", default="application/json", show_default=True)
@click.option("-f", "--format", "form", type=click.Choice(["http", "ce", "ce-structured"]), default="http")
@click.option("--type", "type_", default="funcs.invoke", help="The event's type.")
@click.option("--source", default="/funcs/invoke", help="The event's source.")
@click.option("--id", "id_", default="", help="The event's id; a new one if not given.")
@click.option("--subject", default="", help="The event's subject.")
@click.option("--ext", "extensions", multiple=True, metavar="NAME=VALUE", help="An extension attribute of the event.")
@click.option("-i", "--include", is_flag=True, help="Print status and headers too, on standard error.")
@click.option("--output", type=click.Path(dir_okay=False), help="Write the body to a file.")
@click.option("--no-fail", is_flag=True, help="End with 0 even when the function answered with an error.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, help="Seconds."
)
@pass_wiring
def command(wiring: Wiring, /, target: str, data: str, **options: object) -> None:
    """Send DATA (text, @FILE or - for standard input) to TARGET: a function's name, a URL, or this directory's."""
    from funcs.deploy.invoke import Answer, invoke

    message = _message(_read(data), options)

    async def work() -> Answer:
        url, dial = await _place(wiring, target, str(options["namespace"]))
        return await invoke(
            url.rstrip("/") + str(options["path"]), message, dial=dial, timeout=float(str(options["timeout"]))
        )

    answer = wiring.run(work)
    if options["include"]:
        say(f"HTTP {answer.status}")
        for name, value in answer.headers:
            say(f"{name}: {value}")
    if options["output"]:
        Path(str(options["output"])).write_bytes(answer.body)
    else:
        sys.stdout.buffer.write(answer.body + (b"\n" if answer.body and sys.stdout.isatty() else b""))
        sys.stdout.buffer.flush()
    if not answer.ok and not options["no_fail"]:
        raise FuncsError(f"the function answered {answer.status}", reason="FunctionError", hint=_where_to_look(target))


def _where_to_look(target: str) -> str:
    named = "" if "://" in target else f" {target}".rstrip()
    return f"See `funcs logs{named}`."


async def _place(wiring: Wiring, target: str, namespace: str) -> tuple[str, tuple[str, int] | None]:
    """The URL, and where to dial for it. Raises NotFound for a function that has no URL yet."""
    from funcs.deploy.functions import service_of

    from .choosing import chosen

    if "://" in target:
        return target, wiring.gateway() if ".localhost" in target else None
    name, place = chosen(target, namespace)
    async with wiring.client() as client:
        service = await service_of(client, name, place)
    url = (service.get("status") or {}).get("url")
    if not url:
        raise NotFound(f"{name} has no URL yet", hint=f"See `funcs describe {name}`.")
    return str(url), wiring.gateway()


def _message(data: bytes, options: dict[str, object]) -> Message:
    from funcs.deploy.invoke import Attributes, Message

    form = str(options["form"])
    headers = tuple(_header(text) for text in options["headers"])  # type: ignore[attr-defined]
    attributes = Attributes(
        id=str(options["id_"]) or str(uuid.uuid4()),
        source=str(options["source"]),
        type=str(options["type_"]),
        subject=str(options["subject"]),
        extensions=dict(_split(text, "=", "--ext") for text in options["extensions"]),  # type: ignore[attr-defined]
    )
    return Message(
        data=data,
        content_type=str(options["content_type"]),
        method=str(options["method"]) or ("POST" if data or form != "http" else "GET"),
        headers=headers,
        format=form,  # type: ignore[arg-type]
        attributes=attributes,
    )


def _split(text: str, sign: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition(sign)
    if not found or not name.strip():
        raise Invalid(f"{option} {text!r} is not NAME{sign}VALUE", hint=f"Write it as in {option} name{sign}value.")
    return name.strip(), value.strip()


def _header(text: str) -> tuple[str, str]:
    """RFC 9110 section 5: a name is a token, a value has no control characters."""
    name, value = _split(text, ":", "--header")
    if not _TOKEN.fullmatch(name) or not value.isascii() or not value.isprintable():
        raise Invalid(f"--header {text!r} is not a header", hint="Use printable ASCII, and a name of one word.")
    return name, value


def _read(data: str) -> bytes:
    """Text, the content of `@FILE`, or standard input for `-`. Raises NotFound."""
    if data == "-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return data.encode()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise NotFound(f"{data[1:]} cannot be read: {error.strerror}", hint="Name a file after the @.") from error
