"""The entrypoint contract: how a step is told what to wait for, what to run and what to report.

Law: `parse` inverts `args_for` and `scripts` inverts `place_scripts`, so that whoever plays the entrypoint (the
embedded node natively, a static binary elsewhere) needs nothing but the container's command line. Flags, paths and the
termination message are Tekton's (cmd/entrypoint, pkg/entrypoint, pkg/termination), so its pods and ours read alike.
One addition: no `-entrypoint` flag means the image's own ENTRYPOINT (and its CMD if there are no args). No IO.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from funcs.api import duration, meta
from funcs.errors import BadRequest, FuncsError, Invalid

BINARY = "/tekton/bin/entrypoint"
RUN = "/tekton/run"
STEPS = "/tekton/steps"
RESULTS = "/tekton/results"
SCRIPTS = "/tekton/scripts"
CREDENTIALS = "/tekton/creds"
CREDENTIAL_SECRETS = "/tekton/creds-secrets"
DOWNWARD_READY = "/tekton/downward/ready"
TERMINATION = "/tekton/termination"
ORDERED_STEPS = "funcs.dev/ordered-steps"
"""Annotation of a pod whose node orders the steps itself; its value is "true"."""

MESSAGE_LIMIT = 512 * 1024
"""Bytes of a termination message. Tekton's limit is 4096; a node of ours has none of its own, only this guard."""

OnError = Literal["", "continue", "stopAndFail"]
CredentialKind = Literal["basic-git", "ssh-git", "basic-docker", "docker-config", "docker-cfg"]


class Reason(StrEnum):
    """Why a step ended, when its exit code does not say it (internal result `Reason`)."""

    NONE = ""
    SKIPPED = "Skipped"
    TIMEOUT = "TimeoutExceeded"
    CANCELLED = "Cancelled"


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret mounted at `/tekton/creds-secrets/<secret>`; `url` is the host it is for ("" for docker's own files)."""

    kind: CredentialKind
    secret: str
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the entrypoint of one step is told. `timeout` is in seconds; `command` "" is the image's ENTRYPOINT."""

    command: str = ""
    args: tuple[str, ...] = ()
    wait_file: str = ""
    wait_for_content: bool = False
    post_file: str = ""
    termination_path: str = TERMINATION
    metadata_dir: str = ""
    on_error: OnError = ""
    timeout: float | None = None
    stdout_path: str = ""
    stderr_path: str = ""
    results: tuple[str, ...] = ()
    step_results: tuple[str, ...] = ()
    credentials: tuple[Credential, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Ending:
    """What the entrypoint does when the step's process is over (or never began).

    `exit_code` is the container's; `post_file` is created empty; `recorded` goes to `<metadata_dir>/exitCode` unless
    None; `failed` means that the steps after it are skipped.
    """

    exit_code: int
    post_file: str
    recorded: int | None
    failed: bool


@dataclass(frozen=True, slots=True)
class Termination:
    """A termination message, read. `exit_code` is set where `onError: continue` hid the real one."""

    started_at: float | None = None
    exit_code: int | None = None
    reason: Reason = Reason.NONE
    results: Mapping[str, str] = field(default_factory=dict)
    step_results: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    """The message itself, where it is not the entrypoint's JSON."""


class ResultsTooLarge(FuncsError):
    """The results of a step do not fit into its termination message: the step exits 1 with this text in its log."""

    code = 413
    default_reason = "TaskRunResultLargerThanAllowedLimit"


def placed(index: int, step: Step) -> Step:
    """`step` as the `index`-th of its pod (from 0): what it waits for, what it leaves behind."""
    return replace(
        step,
        wait_file=DOWNWARD_READY if index == 0 else f"{RUN}/{index - 1}/out",
        wait_for_content=index == 0,
        post_file=f"{RUN}/{index}/out",
        metadata_dir=f"{RUN}/{index}/status",
    )


def args_for(step: Step) -> list[str]:
    """The container's args; its command is `[BINARY]`."""
    return [*_flags(step), *(("-entrypoint", step.command) if step.command else ()), "--", *step.args]


def _flags(step: Step) -> list[str]:
    valued = (
        ("-post_file", step.post_file),
        ("-termination_path", step.termination_path),
        ("-step_metadata_dir", step.metadata_dir),
        ("-on_error", step.on_error),
        ("-timeout", "" if step.timeout is None else duration.render(step.timeout)),
        ("-stdout_path", step.stdout_path),
        ("-stderr_path", step.stderr_path),
        ("-step_results", ",".join(step.step_results)),
        ("-results", ",".join(step.results)),
    )
    flags = ["-wait_file", step.wait_file] if step.wait_file else []
    flags += ["-wait_file_content"] if step.wait_for_content else []
    flags += [f"-{found.kind}={_credential(found)}" for found in step.credentials]
    return flags + [part for flag, value in valued if value for part in (flag, value)]


def _credential(credential: Credential) -> str:
    return f"{credential.secret}={credential.url}" if credential.url else credential.secret


def parse(args: Sequence[str]) -> Step:
    """The inverse of `args_for`, by Go's rules for flags. Raises BadRequest for a flag that is not known."""
    values: dict[str, str] = {"termination_path": ""}
    credentials: list[Credential] = []
    rest = list(args)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        flag = rest.pop(0)
        if flag == "--":
            break
        name, given, value = flag.lstrip("-").partition("=")
        if name == "wait_file_content":
            values[name] = value if given else "true"
            continue
        if not given:
            if not rest:
                raise BadRequest(f"entrypoint flag needs an argument: -{name}")
            value = rest.pop(0)
        if name in _CREDENTIAL_KINDS:
            secret, _, url = value.partition("=")
            credentials.append(Credential(_CREDENTIAL_KINDS[name], secret, url))
        else:
            values[name] = value
    return _step(values, tuple(credentials), tuple(rest))


_CREDENTIAL_KINDS: Mapping[str, CredentialKind] = {
    "basic-git": "basic-git",
    "ssh-git": "ssh-git",
    "basic-docker": "basic-docker",
    "docker-config": "docker-config",
    "docker-cfg": "docker-cfg",
}
_ON_ERROR: Mapping[str, OnError] = {"": "", "continue": "continue", "stopAndFail": "stopAndFail"}


def _step(values: dict[str, str], credentials: tuple[Credential, ...], args: tuple[str, ...]) -> Step:
    timeout = values.pop("timeout", "")
    on_error = values.pop("on_error", "")
    if on_error not in _ON_ERROR:
        raise BadRequest(f"entrypoint flag -on_error must be continue or stopAndFail, not {on_error!r}")
    step = Step(
        command=values.pop("entrypoint", ""),
        args=args,
        wait_file=values.pop("wait_file", ""),
        wait_for_content=values.pop("wait_file_content", "") == "true",
        post_file=values.pop("post_file", ""),
        termination_path=values.pop("termination_path"),
        metadata_dir=values.pop("step_metadata_dir", ""),
        on_error=_ON_ERROR[on_error],
        timeout=_seconds(timeout) if timeout else None,
        stdout_path=values.pop("stdout_path", ""),
        stderr_path=values.pop("stderr_path", ""),
        results=_names(values.pop("results", "")),
        step_results=_names(values.pop("step_results", "")),
        credentials=credentials,
    )
    if values:
        raise BadRequest(f"entrypoint flag provided but not defined: -{min(values)}")
    return step


def _seconds(text: str) -> float:
    try:
        return duration.parse(text)
    except Invalid as error:
        raise BadRequest(f"entrypoint flag -timeout: {error}") from error


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def end(step: Step, *, exit_code: int, reason: Reason = Reason.NONE) -> Ending:
    """What follows from how the process ended. `exit_code` is the process's own (128 + signal if a signal ended it)."""
    if reason is not Reason.NONE:
        return Ending(exit_code=1, post_file=f"{step.post_file}.err", recorded=None, failed=True)
    if exit_code == 0:
        return Ending(exit_code=0, post_file=step.post_file, recorded=0, failed=False)
    if step.on_error == "continue":
        return Ending(exit_code=0, post_file=step.post_file, recorded=exit_code, failed=False)
    return Ending(exit_code=exit_code, post_file=f"{step.post_file}.err", recorded=exit_code, failed=True)


_TASK_RESULT, _INTERNAL, _STEP_RESULT = 1, 3, 4


def termination_message(
    step: Step,
    *,
    exit_code: int,
    started_at: float,
    results: Mapping[str, bytes],
    step_results: Mapping[str, bytes] | None = None,
    reason: Reason = Reason.NONE,
) -> str:
    """What is written to `step.termination_path`: a JSON array of {key, value, type}.

    `results` are the contents of `/tekton/results/<name>`, verbatim, for those of `step.results` that exist.
    Raises ResultsTooLarge.
    """
    entries: list[tuple[str, str, int]] = [("StartedAt", _render_time(started_at), _INTERNAL)]
    if reason is not Reason.NONE:
        entries.append(("Reason", reason.value, _INTERNAL))
    elif step.on_error == "continue" and exit_code != 0:
        entries.append(("ExitCode", str(exit_code), _INTERNAL))
    entries += [(name, _text(results[name]), _TASK_RESULT) for name in step.results if name in results]
    from_step = step_results or {}
    entries += [(name, _text(from_step[name]), _STEP_RESULT) for name in step.step_results if name in from_step]
    message = json.dumps([{"key": k, "value": v, "type": t} for k, v, t in entries], separators=(",", ":"))
    if len(message) > MESSAGE_LIMIT:
        raise ResultsTooLarge(
            f"Termination message is above max allowed size {MESSAGE_LIMIT}, caused by large task result.",
            hint="Write what is large to a workspace and pass its path as the result.",
        )
    return message


def read_termination(message: str) -> Termination:
    """Reads what `termination_message` wrote; anything else becomes `text`. A repeated key keeps its last value."""
    try:
        entries = json.loads(message) if message.strip() else []
    except ValueError:
        return Termination(text=message)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return Termination(text=message)
    by_type: dict[int, dict[str, str]] = {_TASK_RESULT: {}, _INTERNAL: {}, _STEP_RESULT: {}}
    for entry in entries:
        key, value, kind = entry.get("key"), entry.get("value"), entry.get("type")
        if isinstance(key, str) and isinstance(value, str) and kind in by_type:
            by_type[kind][key] = value
    internal = by_type[_INTERNAL]
    return Termination(
        started_at=_read_time(internal.get("StartedAt", "")),
        exit_code=_read_int(internal.get("ExitCode", "")),
        reason=next((reason for reason in Reason if reason.value == internal.get("Reason")), Reason.NONE),
        results=by_type[_TASK_RESULT],
        step_results=by_type[_STEP_RESULT],
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


def _render_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_time(text: str) -> float | None:
    try:
        return meta.parse_timestamp(text)
    except ValueError:
        return None


def _read_int(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None


def place_scripts(scripts: Mapping[str, str]) -> list[str]:
    """The args of the init container `place-scripts` (its command is `["sh"]`), which writes each path's content.

    Contents travel as base64, so that no shell and no kubelet expands what is in them.
    """
    return ["-c", "".join(_BLOCK.format(path=path, data=_encode(text)) for path, text in scripts.items())]


def scripts(args: Sequence[str]) -> dict[str, bytes]:
    """The inverse of `place_scripts`: content by path; each becomes an executable file. Raises BadRequest."""
    if len(args) != 2 or args[0] != "-c":
        raise BadRequest("place-scripts takes -c and one script")
    found: dict[str, bytes] = {}
    position = 0
    while position < len(args[1]):
        block = _BLOCK_READ.match(args[1], position)
        if block is None:
            raise BadRequest("place-scripts has a line that is not its own")
        try:
            found[block["path"]] = base64.b64decode(block["data"], validate=True)
        except binascii.Error as error:
            raise BadRequest(f"place-scripts holds bad base64 for {block['path']}") from error
        position = block.end()
    return found


_BLOCK = (
    'scriptfile="{path}"\n'
    "touch ${{scriptfile}} && chmod +x ${{scriptfile}}\n"
    "cat > ${{scriptfile}} << '_EOF_'\n"
    "{data}\n"
    "_EOF_\n" + BINARY + ' decode-script "${{scriptfile}}"\n'
)
_BLOCK_READ = re.compile(
    re.escape(_BLOCK.format(path="PATH", data="DATA"))
    .replace("PATH", rf"(?P<path>{SCRIPTS}/[A-Za-z0-9._-]+)", 1)
    .replace("DATA", "(?P<data>[A-Za-z0-9+/=]*)", 1)
)


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
