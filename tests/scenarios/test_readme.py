"""The README's five-minute tour, run as it is written."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from funcs.platform.places import Ports
from tests.scenarios import readme
from tests.scenarios.cluster import FUNCS, Cluster, eventually
from tests.scenarios.conftest import home
from tests.scenarios.readme import Command, NotUnderstood

README = Path(__file__).parents[2] / "README.md"
SAMPLE = """
# A sample

```python
print("$ not a command")
```

```console
$ echo one
one
$ echo two
```

```console
$ echo three
three
four
```
"""


def test_commands_come_in_order_with_what_is_shown_below_them() -> None:
    assert readme.commands(SAMPLE) == [
        Command(9, "echo one", ("one",)),
        Command(11, "echo two"),
        Command(15, "echo three", ("three", "four")),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("```console\noutput first\n```", "begins with"),
        ("```console\n$echo\n```", "begins with"),
        ("```console\n\n$ echo\n```", "begins with"),
        ("```\n$ echo\n```", "language ''"),
        ("```bash\nfuncs up\n```", "language 'bash'"),
        ("  ```console\n$ echo\n```", "indented"),
        ("```console\n$ echo\n", "not closed"),
        ("```console\n$ echo\n```python\n", "within"),
    ],
)
def test_a_block_that_is_not_understood_is_an_error(text: str, why: str) -> None:
    with pytest.raises(NotUnderstood, match=why):
        readme.commands(text)


@pytest.fixture
def reader(build_cache: Path) -> Iterator[Cluster]:
    """A reader's machine: `funcs` on the PATH, the default cluster, an empty directory."""
    made = Cluster(home(), build_cache, name="default")
    made.work.mkdir()
    programs = made.home / "bin"
    programs.mkdir()
    script = programs / "funcs"
    script.write_text(f'#!/bin/sh\nexec {" ".join(FUNCS)} "$@"\n')
    script.chmod(0o755)
    made.extra = {"PATH": f"{programs}:{made.environ['PATH']}"}
    yield made
    made.remove()


@pytest.mark.timeout(240)
def test_the_five_minute_tour_is_true(reader: Cluster) -> None:
    taken = [port for port in Ports().__struct_fields__ if in_use(getattr(Ports(), port))]
    for command in readme.commands(README.read_text()):
        if command.text.startswith("kubectl") and shutil.which("kubectl") is None:
            continue
        said = reader.run("bash", "-ceu", of_this_machine(command.text, reader, bool(taken)), timeout=120).out
        missing = [line for line in command.shown if line not in said.splitlines()]
        assert not missing, f"README.md:{command.line}: `{command.text}` did not print {missing}, but\n{said}"
        if command.text == "funcs up":
            eventually("the cluster is up", lambda: reader.status().up)


def of_this_machine(text: str, reader: Cluster, ports_taken: bool) -> str:
    """The command with the state directory, and where a default port is taken the ports, of this test's cluster."""
    text = text.replace("~/.local/state", str(reader.home))
    if not ports_taken:
        return text
    if text == "funcs up":
        return "funcs up --any-port"
    defaults = Ports()
    for name in defaults.__struct_fields__:
        default = getattr(defaults, name)
        if f":{default}/" in text:
            text = text.replace(f":{default}/", f":{getattr(reader.record.ports, name)}/")
    return text


def in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
