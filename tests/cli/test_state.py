"""What a person sees when the state directory is not as it should be."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from funcs.cli.main import cli
from funcs.platform import pids, supervisor
from funcs.platform.places import Places, Ports, Record

Run = Callable[..., Result]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(tmp_path / "funcs" / "default")
    found.create()
    return found


@pytest.fixture
def recorded(places: Places) -> Places:
    places.write_record(Record(name="default", node="n", ports=Ports(), cache=places.root))
    return places


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return lambda *argv: CliRunner(env={"XDG_STATE_HOME": str(tmp_path)}).invoke(cli, list(argv))


def test_a_cluster_that_is_down(recorded: Places, run: Run) -> None:
    done = run("list")
    assert done.exit_code == 10
    assert done.stderr == 'Error: the cluster "default" is not up\n  → Run `funcs up`.\n'


@pytest.mark.parametrize("command", [["up"], ["status"], ["list"]])
def test_a_damaged_record_names_the_file_and_the_remedy(places: Places, run: Run, command: list[str]) -> None:
    places.record.write_text("{")
    done = run(*command)
    assert done.exit_code == 4
    assert done.stderr.startswith(f"Error: {places.record} is damaged: ")
    assert done.stderr.endswith("\n  → Restore it, or `funcs down --purge`.\n")


def test_damaged_tokens_are_not_made_anew(recorded: Places, run: Run) -> None:
    recorded.tokens.write_text('{"admin": 3}')
    done = run("up")
    assert done.exit_code == 4
    assert done.stderr.startswith(f"Error: {recorded.tokens} is damaged: ")
    assert recorded.tokens.read_text() == '{"admin": 3}'


def test_a_format_that_is_no_number(places: Places, run: Run) -> None:
    (places.root / "format").write_text("one")
    done = run("up")
    assert done.exit_code == 4
    assert "holds 'one', not a format number\n  → Restore it" in done.stderr


def test_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner(env={"XDG_STATE_HOME": str(tmp_path / "file")}).invoke(cli, ["up"])
    assert done.exit_code == 4
    assert done.stderr == (
        f"Error: the state directory {tmp_path}/file/funcs/default cannot be written: Not a directory\n"
        "  → Make it writable, or set XDG_STATE_HOME to another place.\n"
    )


def test_a_port_in_use_at_the_first_start_leaves_no_cluster_behind(tmp_path: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("up", "--any-port", "--broker-port", str(port))
    assert done.exit_code == 9
    assert done.stderr == (
        f"Error: port {port} of the broker is in use\n"
        "  → Stop what listens there, or choose another: `funcs up --broker-port N` (0 takes any free one).\n"
    )
    assert not (tmp_path / "funcs" / "default" / "cluster.json").exists()


def test_the_same_port_twice_is_one_in_use(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    done = run("up", "--any-port", "--broker-port", str(port), "--gateway-port", str(port))
    assert done.exit_code == 9
    assert f"port {port} of the broker is in use" in done.stderr


def test_a_cluster_keeps_its_ports_and_says_so(recorded: Places, run: Run) -> None:
    done = run("up", "--gateway-port", "9999")
    assert done.exit_code == 4
    assert done.stderr == (
        'Error: the cluster "default" keeps port 8080 for the gateway, chosen at its first start\n'
        "  → Leave --gateway-port out, or start another cluster with `funcs --cluster NAME up`.\n"
    )


def test_no_git_is_said_before_anything_is_built(
    recorded: Places, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "func.yaml").write_text("name: a\nruntime: python\n")
    me = pids.of(os.getpid())
    assert me is not None
    state = supervisor.State(me, {}, ())
    (recorded.run / "supervisor.json").write_bytes(msgspec.json.encode(state))
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("deploy", str(tmp_path))
    assert done.exit_code == 10
    assert done.stderr == "Error: git is not installed\n  → Install git, or deploy with --no-git.\n"
