"""A structured logger: a message, and fields that are bound to it. Law: it writes nowhere; its sink does."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Sink: TypeAlias = Callable[[str, str, Mapping[str, Any]], None]
"""Level, message, fields."""


class Logger:
    """`logger.info("received %s", event.type, order=17)`: arguments are formatted in, keywords become fields."""

    __slots__ = ("_fields", "_level", "_sink")

    def __init__(self, sink: Sink, level: int = 20, fields: Mapping[str, Any] | None = None) -> None:
        self._sink = sink
        self._level = level
        self._fields: Mapping[str, Any] = fields or {}

    def bind(self, **fields: Any) -> Logger:
        """A logger whose every line has these fields too."""
        return Logger(self._sink, self._level, {**self._fields, **fields})

    def debug(self, message: str, *args: Any, **fields: Any) -> None:
        self._log("debug", message, args, fields)

    def info(self, message: str, *args: Any, **fields: Any) -> None:
        self._log("info", message, args, fields)

    def warning(self, message: str, *args: Any, **fields: Any) -> None:
        self._log("warning", message, args, fields)

    def error(self, message: str, *args: Any, **fields: Any) -> None:
        self._log("error", message, args, fields)

    def exception(self, message: str, *args: Any, error: BaseException | None = None, **fields: Any) -> None:
        """An error with its traceback: that of `error`, or of the exception being handled."""
        lines = traceback.format_exception(error) if error is not None else [traceback.format_exc()]
        self._log("error", message, args, {**fields, "traceback": "".join(lines)})

    def _log(self, level: str, message: str, args: tuple[Any, ...], fields: Mapping[str, Any]) -> None:
        if LEVELS[level] >= self._level:
            self._sink(
                level, message % args if args else message, {**self._fields, **fields} if fields else self._fields
            )
