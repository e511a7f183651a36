"""The commands of a README, as its reader would type them, and what is printed after them.

Law: strict: a fenced block whose language is not known is an error, and so is a `console` block that does not begin
with a command; nothing that looks like a command is skipped. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

SKIPPED = frozenset({"python", "yaml", "json", "text", "toml"})


@dataclass(frozen=True, slots=True)
class Command:
    """One `$ ` line, and the lines that the README shows below it. `line` is where it stands, from 1."""

    line: int
    text: str
    shown: tuple[str, ...] = ()


class NotUnderstood(Exception):
    """The README holds a block that cannot be run as it stands."""


def commands(text: str) -> list[Command]:
    """All commands of the `console` blocks, in order. Raises NotUnderstood."""
    found: list[Command] = []
    language: str | None = None
    fresh = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            language, fresh = _fence(line, language, number), True
        elif language != "console":
            continue
        elif line.startswith("$ "):
            found.append(Command(number, line.removeprefix("$ ")))
            fresh = False
        elif fresh or line.startswith("$"):
            raise NotUnderstood(f"line {number}: a console block begins with `$ COMMAND`, not with {line!r}")
        else:
            last = found[-1]
            found[-1] = Command(last.line, last.text, (*last.shown, line))
    if language is not None:
        raise NotUnderstood("the last block is not closed")
    return found


def _fence(line: str, open_: str | None, number: int) -> str | None:
    if line != line.lstrip():
        raise NotUnderstood(f"line {number}: an indented fence")
    language = line.removeprefix("```").strip()
    if open_ is not None:
        if language:
            raise NotUnderstood(f"line {number}: a block within a block")
        return None
    if language != "console" and language not in SKIPPED:
        raise NotUnderstood(f"line {number}: a block of language {language!r}")
    return language
