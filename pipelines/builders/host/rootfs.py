"""The `host` base: a small root file system made of this machine's own Python.

Law: what a program needs to start and nothing else: the interpreter with its library (compiled, without tests and
GUI), its shared libraries, a shell, users, certificates. Where the machine is no Linux the image holds no programs:
the node replaces the interpreter by its own. IO: reads the machine's files.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

from funcs.errors import Unsupported
from funcs.oci import layer
from funcs.oci.layer import Entry

from . import libraries
from .bytecode import with_bytecode
from .interpreter import Interpreter, this_interpreter, this_target
from .keyed import key_of

NONROOT = 65532
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_WITHOUT = frozenset(
    {
        "__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py", "lib2to3", "ensurepip",
        "site-packages", "dist-packages", "pydoc_data",
    }
)  # fmt: skip
_WITHOUT_PREFIXES = ("config-", "_test", "_tkinter", "_xx", "xx", "_ctypes_test")
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)  # fmt: skip
_PASSWD = f"""root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
nonroot:x:{NONROOT}:{NONROOT}:nonroot:/home/nonroot:/bin/sh
"""
_GROUP = f"root:x:0:\nnogroup:x:65534:\nnonroot:x:{NONROOT}:\n"


def fingerprint() -> str:
    """Changes when what the base is made of does. A few stats: no file is read."""
    interpreter = this_interpreter()
    watched = [interpreter.executable, interpreter.stdlib, interpreter.dynload, _shell(), _certificates()]
    stamps = [f"{path}:{_stamp(path)}" for path in watched if path is not None]
    return key_of("base", str(this_target()), this_target().libc, interpreter.version, *stamps)


def entries() -> Iterator[Entry]:
    """Everything in the layer."""
    yield from _places()
    if sys.platform != "linux":
        return
    interpreter = this_interpreter()
    python = f"python{this_target().python}"
    shell = _shell()
    if shell is None:
        raise Unsupported("there is no /bin/sh here, so no base image can be made of this machine")
    modules = list(_dynload(interpreter))
    own = libraries.needed_by([interpreter.executable])
    promised = libraries.promised_to_wheels(own)
    found = libraries.needed_by([interpreter.executable, shell, *modules, *promised])
    if interpreter.executable in own.missing:
        raise Unsupported(f"{interpreter.executable} lacks shared libraries; ldd names them")
    yield from libraries.merged_links()
    yield from libraries.entries(libraries.with_files(found, promised))
    yield layer.file(libraries.in_image("/bin/sh"), shell, executable=True)
    yield layer.file(f"usr/local/bin/{python}", interpreter.executable, executable=True)
    yield layer.symlink("usr/local/bin/python3", python)
    yield layer.symlink("usr/local/bin/python", "python3")
    yield layer.directory(f"usr/local/lib/{python}/site-packages")
    for module in modules:
        if module not in found.missing:
            yield layer.file(f"usr/local/lib/{python}/lib-dynload/{module.name}", module, executable=True)
    yield from with_bytecode(_stdlib(interpreter.stdlib, f"usr/local/lib/{python}"), this_target().cache_tag)


def _places() -> Iterator[Entry]:
    yield layer.file("etc/passwd", _PASSWD.encode())
    yield layer.file("etc/group", _GROUP.encode())
    yield layer.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    yield layer.directory("tmp", 0o1777)
    yield layer.directory("var/tmp", 0o1777)
    yield layer.directory("root", 0o700)
    yield Entry("home/nonroot", mode=0o755, uid=NONROOT, gid=NONROOT)
    yield layer.directory("proc")
    yield layer.directory("sys")
    yield layer.directory("dev")
    certificates = _certificates()
    if certificates is not None:
        yield layer.file(CERTIFICATES, certificates)


def _stdlib(root: Path, under: str) -> Iterator[Entry]:
    for entry in layer.tree(root, under, skip=_WITHOUT | {"lib-dynload"}):
        below = entry.path.removeprefix(f"{under}/")
        if below.startswith(_WITHOUT_PREFIXES) or entry.path.endswith((".pyc", ".a", ".o", ".exe")):
            continue
        if entry.link and not _stays(root, below, entry.link):
            resolved = (root / below).resolve()
            if resolved.is_file():
                yield layer.file(entry.path, resolved)
            continue
        yield entry


def _stays(root: Path, below: str, link: str) -> bool:
    target = os.path.normpath(root / Path(below).parent / link)
    return Path(target).is_relative_to(root)


def _dynload(interpreter: Interpreter) -> Iterator[Path]:
    if interpreter.dynload.is_dir():
        for path in sorted(interpreter.dynload.iterdir()):
            if path.suffix == ".so" and not path.name.startswith(_WITHOUT_PREFIXES):
                yield path


def _shell() -> Path | None:
    shell = Path("/bin/sh").resolve()
    return shell if shell.is_file() else None


def _certificates() -> Path | None:
    default = ssl.get_default_verify_paths().cafile
    candidates = [*_BUNDLES, *([default] if default else [])]
    return next((Path(path).resolve() for path in candidates if Path(path).is_file()), None)


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size}:{found.st_mtime_ns}" if path.exists() else ""
