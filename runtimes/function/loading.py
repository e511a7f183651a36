"""Finding the author's code. Law: whatever is wrong with it is one LoadError that says where and why."""

from __future__ import annotations

import importlib
import importlib.util
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any

from funcs.errors import Terminal


class LoadError(Terminal):
    """The function cannot be loaded."""

    default_reason = "HandlerNotLoaded"


@dataclass(frozen=True, slots=True)
class Loaded:
    """`target` is called for each event; `owner` may have `init`, `shutdown`, `alive` and `ready`."""

    target: Callable[..., Any]
    owner: object
    name: str


def load(spec: str = "") -> Loaded:
    """Import `module:attribute`, or find `handle` by convention. Raises LoadError.

    The attribute is a callable, or a class (or an instance of one) with a method `handle`; `handle` is the default.
    """
    module_name, _, attribute = (spec or _found()).partition(":")
    attribute = attribute or "handle"
    module = _import(module_name)
    target = getattr(module, attribute, None)
    name = f"{module_name}:{attribute}"
    if target is None:
        raise LoadError(
            f"{_place(module)} has no {attribute!r}",
            hint="Define `async def handle(ctx, event)` there, or set FUNCS_HANDLER=module:attribute.",
        )
    if isinstance(target, type):
        target = _instance(target, name)
    if hasattr(target, "handle"):
        return Loaded(target.handle, target, name)
    if not callable(target):
        raise LoadError(f"{name} in {_place(module)} is a {type(target).__name__}, not something to call")
    return Loaded(target, module, name)


def _found() -> str:
    for name in ("func", "function"):
        if importlib.util.find_spec(name) is not None:
            return name
    from pathlib import Path

    raise LoadError(
        f"there is no func.py and no package `function` in {Path.cwd()}",
        hint="Put `async def handle(ctx, event)` into func.py, or set FUNCS_HANDLER=module:attribute.",
    )


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise LoadError(f"there is no module {name!r}", hint="Check FUNCS_HANDLER.") from error
        raise LoadError(
            f"{where(error)}: {error}", hint="Add the package to requirements.txt, and build again."
        ) from error
    except SyntaxError as error:
        raise LoadError(f"{error.filename}:{error.lineno}: SyntaxError: {error.msg}") from error
    except SystemExit as error:
        raise LoadError(f"{where(error)}: the module ends the process when it is imported") from error
    except Exception as error:
        raise LoadError(f"{where(error)}: {type(error).__name__}: {error}") from error


def _instance(cls: type, name: str) -> Any:
    if not hasattr(cls, "handle"):
        raise LoadError(f"the class {name} has no method `handle`")
    try:
        return cls()
    except Exception as error:
        raise LoadError(f"{where(error)}: {name}() raised {type(error).__name__}: {error}") from error


def where(error: BaseException) -> str:
    """`file:line` of the innermost frame of the author's code."""
    trace: TracebackType | None = error.__traceback__
    frames = [f for f in traceback.extract_tb(trace) if not f.filename.startswith("<")]
    own = [f for f in frames if "importlib" not in f.filename and "site-packages" not in f.filename]
    last = (own or frames)[-1]
    return f"{last.filename}:{last.lineno}"


def _place(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__
