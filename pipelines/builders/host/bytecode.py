"""Compiled Python for images: cold starts should not compile.

Law: the same source gives the same bytes in any process. marshal shares what it finds shared and flags what has more
than one reference, both of which vary; so sharing is undone (format 2 knows none) and everything is held while it is
written. Files are marked "unchecked hash", so no time stamp matters. IO: reads files.
"""

from __future__ import annotations

import importlib.util
import marshal
import struct
import types
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from funcs.oci import layer
from funcs.oci.layer import Entry

_UNCHECKED_HASH = 0b01
_HEADER = 16


def with_bytecode(entries: Iterable[Entry], cache_tag: str) -> Iterator[Entry]:
    """The entries, and for each module its `__pycache__` file. Modules that do not compile stay as they are."""
    for entry in entries:
        yield entry
        if entry.path.endswith(".py") and entry.content is not None:
            compiled = compiled_module(entry)
            if compiled is not None:
                directory, _, name = entry.path.rpartition("/")
                place = f"{name.removesuffix('.py')}.{cache_tag}.pyc"
                yield layer.file("/".join(filter(None, (directory, "__pycache__", place))), compiled)


def compiled_module(entry: Entry) -> bytes | None:
    """The contents of the module's .pyc; None if it is not valid Python (of this version)."""
    source = entry.content.read_bytes() if isinstance(entry.content, Path) else entry.content or b""
    code = _ready(entry.content, source) if isinstance(entry.content, Path) else None
    try:
        code = code or compiled(source, f"/{entry.path}")
        body = _canonical(_placed(code, f"/{entry.path}"))
    except (SyntaxError, ValueError, RecursionError):
        return None
    return importlib.util.MAGIC_NUMBER + struct.pack("<I", _UNCHECKED_HASH) + importlib.util.source_hash(source) + body


def compiled(source: bytes, path: str) -> types.CodeType:
    """Raises SyntaxError, ValueError. What the compiler only warns of is said when the module runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return compile(source, path, "exec", dont_inherit=True, optimize=0)


def _canonical(code: types.CodeType) -> bytes:
    alone = marshal.loads(marshal.dumps(code, 2))  # noqa: S302  (our own bytes)
    held = list(_parts(alone))
    written = marshal.dumps(alone)
    held.clear()
    return written


def _parts(value: object) -> Iterator[object]:
    """The value and everything in it that marshal writes as an object of its own."""
    yield value
    if isinstance(value, types.CodeType):
        strings = (value.co_varnames, value.co_cellvars, value.co_freevars)
        yield from (name for names in strings for name in names)
        yield from (value.co_filename, value.co_name, value.co_qualname, value.co_linetable, value.co_exceptiontable)
        yield from _parts(value.co_names)
        yield from _parts(value.co_consts)
    elif isinstance(value, tuple | frozenset):
        for item in value:
            yield from _parts(item)


def _ready(path: Path, source: bytes) -> types.CodeType | None:
    """The code that this machine's own interpreter compiled already, if it is of this very source."""
    try:
        data = Path(importlib.util.cache_from_source(str(path))).read_bytes()
        modified = int(path.stat().st_mtime) & 0xFFFFFFFF
        expected = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, modified, len(source) & 0xFFFFFFFF)
        code = marshal.loads(memoryview(data)[_HEADER:]) if data[:_HEADER] == expected else None  # noqa: S302
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return code if isinstance(code, types.CodeType) else None


def _placed(code: types.CodeType, path: str) -> types.CodeType:
    """The code with the file name that it has in the image, in nested code too."""
    constants = tuple(_placed(value, path) if isinstance(value, types.CodeType) else value for value in code.co_consts)
    return code.replace(co_filename=path, co_consts=constants)
