"""What a person sees when a command cannot be done: one message with cause and remedy, and the code of its kind."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from funcs.cli.main import cli

GOOD = "name: thumbnail\nruntime: python\n"


@dataclass(frozen=True, slots=True)
class Run:
    code: int
    error: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """A command in an empty directory, with no cluster; `{here}` is that directory."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def go(*argv: str) -> Run:
        environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = CliRunner(env=environ).invoke(cli, list(argv))
        return Run(done.exit_code, done.stderr.replace(str(here), "{here}").replace(str(tmp_path), "{tmp}"))

    return go


USAGE = [
    (["nosuch"], "Error: No such command 'nosuch'.\n  → See `funcs --help`.\n"),
    (["deplo"], "Error: No such command 'deplo'. Did you mean `deploy`?\n  → See `funcs --help`.\n"),
    (["deploy", "--nosuch"], "Error: No such option '--nosuch'.\n  → See `funcs deploy --help`.\n"),
    (["deploy", "a", "b"], "Error: Got unexpected extra argument (b)\n  → See `funcs deploy --help`.\n"),
    (
        ["deploy", "--timeout", "-1"],
        "Error: Invalid value for '--timeout': -1.0 is not in the range x>0.\n  → See `funcs deploy --help`.\n",
    ),
    (
        ["--cluster", "../x", "up"],
        "Error: Invalid value for --cluster: '../x' is not lower-case letters, digits and '-'\n"
        "  → See `funcs --help`.\n",
    ),
    (
        ["list", "-n", "A_b"],
        "Error: Invalid value for '-n' / '--namespace': 'A_b' is not a namespace's name: lower-case letters, digits "
        "and '-'.\n  → See `funcs list --help`.\n",
    ),
    (
        ["list", "-o", "xml"],
        "Error: Invalid value for '-o' / '--output': 'xml' is not one of 'table', 'json', 'yaml'.\n"
        "  → See `funcs list --help`.\n",
    ),
    (
        ["up", "--api-port", "70000"],
        "Error: Invalid value for '--api-port': 70000 is not in the range 0<=x<=65535.\n  → See `funcs up --help`.\n",
    ),
]


@pytest.mark.parametrize(("argv", "error"), USAGE, ids=[" ".join(argv) for argv, _ in USAGE])
def test_a_wrong_command_line_says_what_is_wrong_with_it(run: Callable[..., Run], argv: list[str], error: str) -> None:
    assert run(*argv) == Run(2, error)


NO_FUNCTION = "Error: no func.yaml in {here}\n  → Make a function with `funcs create NAME`, or name its directory.\n"
NO_CLUSTER = "Error: there is no cluster in {tmp}/state/funcs/default\n  → Run `funcs up`.\n"


@pytest.mark.parametrize("command", ["deploy", "build", "subscribe"])
def test_outside_of_a_functions_directory(run: Callable[..., Run], command: str) -> None:
    assert run(command) == Run(3, NO_FUNCTION)


@pytest.mark.parametrize(
    "argv", [["list"], ["describe", "a"], ["logs", "a"], ["delete", "a"], ["invoke", "a"], ["status"]]
)
def test_without_a_cluster(run: Callable[..., Run], argv: list[str]) -> None:
    assert run(*argv) == Run(3, NO_CLUSTER)


def test_a_deploy_without_a_cluster_leaves_the_function_as_it_was(run: Callable[..., Run]) -> None:
    Path("func.yaml").write_text(GOOD)
    assert run("deploy", "--env", "A=b") == Run(3, NO_CLUSTER)
    assert Path("func.yaml").read_text() == GOOD
    assert not Path(".git").exists()


BAD_FILES = [
    ("runtime: [python\n", "Error: {here}/func.yaml, line 2, column 1 is not YAML: did not find expected ',' or ']'\n"),
    (
        "name: a\nruntime: python\nregistri: 3\n",
        "Error: {here}/func.yaml is not valid:\n  registri (line 3): unknown field, did you mean 'registry'?\n"
        "  → Correct {here}/func.yaml.\n",
    ),
    (
        "name: a\nruntime: python\nrun:\n  envs: 3\n",
        "Error: {here}/func.yaml is not valid:\n  run.envs (line 4): Expected `array | null`, got `int`\n"
        "  → Correct {here}/func.yaml.\n",
    ),
    (
        "name: Bad_Name\nruntime: python\n",
        "Error: {here}/func.yaml is not valid:\n  name (line 1): 'Bad_Name' must be lower-case letters, digits and "
        "'-', begin with a letter and end with a letter or digit\n  → Correct {here}/func.yaml.\n",
    ),
    (
        "runtime: python\n",
        "Error: {here}/func.yaml is not valid:\n  name: is required\n  → Correct {here}/func.yaml.\n",
    ),
    ("", "Error: {here}/func.yaml must be a mapping with at least `name` and `runtime`\n"),
    (
        "name: a\nruntime: python\ndeploy:\n  annotations:\n    a b: c\n",
        "Error: {here}/func.yaml is not valid:\n  deploy.annotations (line 4): 'a b' is not an annotation's name\n"
        "  → Correct {here}/func.yaml.\n",
    ),
    (
        "name: a\nruntime: python\ndeploy:\n  subscriptions:\n  - source: Bad_Broker\n    filters: {Ty-pe: x}\n",
        "Error: {here}/func.yaml is not valid:\n"
        "  deploy.subscriptions[0].source (line 5): 'Bad_Broker' is not a Broker's name\n"
        "  deploy.subscriptions[0].filters (line 6): 'Ty-pe' is not an attribute: lower-case letters and digits only\n"
        "  → Correct {here}/func.yaml.\n",
    ),
]


@pytest.mark.parametrize(("text", "error"), BAD_FILES, ids=[repr(text[-24:]) for text, _ in BAD_FILES])
def test_a_wrong_func_yaml_is_said_with_field_and_line(run: Callable[..., Run], text: str, error: str) -> None:
    Path("func.yaml").write_text(text)
    assert run("deploy") == Run(4, error)


BAD_FLAGS = [
    (["deploy", "--dry-run", "--image", "r/x@sha256:zz"], "Error: not an image reference: 'r/x@sha256:zz'"),
    (["deploy", "--dry-run"], "Error: --dry-run builds nothing\n  → Name the image by digest:"),
    (
        ["subscribe", "--filter", "type"],
        "Error: --filter 'type' is not ATTRIBUTE=VALUE\n  → Write it as in --filter type=",
    ),
    (["subscribe", "--filter", "Ty-pe=x"], "Error: {here}/func.yaml is not valid:"),
    (["invoke", "a", "--header", "nocolon"], "Error: --header 'nocolon' is not NAME:VALUE\n  → Write it as in"),
    (["invoke", "a", "--header", "a: b\nc: d"], "Error: --header 'a: b\\nc: d' is not a header\n  → Use printable"),
    (["invoke", "a", "--ext", "x"], "Error: --ext 'x' is not NAME=VALUE\n  → Write it as in --ext name=value.\n"),
    (["create", "Bad_Name"], "Error: 'Bad_Name' cannot be a function's name: it must be"),
]


@pytest.mark.parametrize(("argv", "beginning"), BAD_FLAGS, ids=[" ".join(argv) for argv, _ in BAD_FLAGS])
def test_a_wrong_value_is_refused_and_nothing_is_written(
    run: Callable[..., Run], argv: list[str], beginning: str
) -> None:
    Path("func.yaml").write_text(GOOD)
    done = run(*argv)
    assert done.code == 4
    assert done.error.startswith(beginning)
    assert Path("func.yaml").read_text() == GOOD
    assert [path.name for path in Path().iterdir()] == ["func.yaml"]


def test_create_refuses_what_would_be_overwritten(run: Callable[..., Run]) -> None:
    Path("taken").mkdir()
    Path("taken/a").touch()
    error = "Error: {here}/taken is not empty: it has a\n  → Choose an empty or new directory.\n"
    assert run("create", "taken") == Run(9, error)


def test_create_names_the_templates_that_there_are(run: Callable[..., Run]) -> None:
    error = "Error: no template cobol/http\n  → There are: python/cloudevents, python/http.\n"
    assert run("create", "x", "-l", "cobol") == Run(3, error)
    assert not Path("x").exists()


def test_a_url_that_nobody_serves(run: Callable[..., Run]) -> None:
    done = run("invoke", "http://127.0.0.1:1/")
    assert done.code == 10
    assert done.error.startswith("Error: nothing answers at 127.0.0.1:1: ")
