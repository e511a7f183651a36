"""Starting one process: fork, become whom it should be, exec; a failure comes back as text.

Law: the caller is single-threaded. The child leads a session of its own, has only its three standard descriptors, no
way to gain privileges, and dies with the shim.
"""

from __future__ import annotations

import _signal
import os

from . import cgroups, kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Message

STDIN, STDOUT, STDERR = 0, 1, 2


class StartFailed(Exception):
    """The program could not be started."""


def spawn(argv: list[str], spec: Message, stdout: int, stderr: int) -> int:
    """The pid of `argv`. `spec`: env, cwd, and optionally uid, gid, groups, join. Raises StartFailed."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if not pid:
        _become(argv, spec, (stdout, stderr, writer))
    os.close(writer)
    problem = b""
    while chunk := os.read(reader, 4096):
        problem += chunk
    os.close(reader)
    if problem:
        os.waitpid(pid, 0)
        raise StartFailed(problem.decode(errors="replace"))
    return pid


def _become(argv: list[str], spec: Message, descriptors: tuple[int, int, int]) -> None:
    stdout, stderr, problems = descriptors
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, STDIN)
        os.dup2(stdout, STDOUT)
        os.dup2(stderr, STDERR)
        for number in (
            _signal.SIGPIPE,
            _signal.SIGXFSZ,
            _signal.SIGCHLD,
            _signal.SIGINT,
            _signal.SIGTERM,
            _signal.SIGHUP,
        ):
            _signal.signal(number, _signal.SIG_DFL)
        os.umask(0o022)
        cgroups.join(spec.get("join") or [])
        _take_identity(spec)
        if kernel.available:
            kernel.die_with_parent(_signal.SIGKILL)
            if spec.get("no_new_privileges"):
                kernel.forbid_new_privileges()
        os.chdir(spec.get("cwd") or "/")
        os.execvpe(argv[0], argv, spec["env"])
    except FileNotFoundError:
        where = argv[0] if os.path.isdir(spec.get("cwd") or "/") else f"working directory {spec['cwd']}"
        _fail(problems, f'exec: "{where}": no such file or directory')
    except OSError as error:
        _fail(problems, f'exec: "{argv[0]}": {error.strerror or error}')
    except BaseException as error:
        _fail(problems, f'exec: "{argv[0]}": {error!r}')


def _take_identity(spec: Message) -> None:
    if "uid" not in spec:
        return
    os.setgroups(spec.get("groups") or [])
    os.setgid(spec["gid"])
    os.setuid(spec["uid"])


def _fail(problems: int, text: str) -> None:
    os.write(problems, text.encode()[:4000])
    os._exit(127)
