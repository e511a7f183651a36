"""The host builder: what is made anew, what is the same to the bit, what is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from funcs.errors import Conflict, Invalid
from pipelines.builders.host import requirements

from .conftest import HANDLER, Workshop, make_wheel, write_function

needs_uv = pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")


async def test_the_same_source_gives_the_same_digest_anywhere(
    workshop: Workshop, another: Workshop, tmp_path: Path
) -> None:
    here = write_function(tmp_path / "here", requirements="shapes==1.0\n")
    there = write_function(tmp_path / "there", requirements="shapes==1.0\n")
    os.utime(there / "func.py", (1, 1))
    assert (await workshop.build(here)).digest == (await another.build(there)).digest


async def test_nothing_changed_makes_nothing(workshop: Workshop, source: Path) -> None:
    first = await workshop.build(source)
    before = workshop.blobs()
    second = await workshop.build(source)
    assert second.digest == first.digest
    assert workshop.blobs() == before
    assert all(layer.cached for layer in second.layers)


async def test_one_line_changed_makes_exactly_one_layer(workshop: Workshop, tmp_path: Path) -> None:
    source = write_function(tmp_path / "function", requirements="shapes==1.0\n")
    await workshop.build(source)
    before = workshop.blobs()
    (source / "func.py").write_text(HANDLER.replace("hello", "good day"))
    built = await workshop.build(source)
    assert [layer.name for layer in built.layers if not layer.cached] == ["source"]
    assert len(workshop.blobs() - before) == 3, "a layer, a configuration, a manifest"


async def test_a_touched_file_is_the_same_and_an_edit_with_the_old_time_is_not(
    workshop: Workshop, source: Path
) -> None:
    os.utime(source / "func.py", (1_000_000, 1_000_000))
    first = await workshop.build(source)
    (source / "func.py").write_text(HANDLER.replace("hello", "hullo"))
    os.utime(source / "func.py", (1_000_000, 1_000_000))
    second = await workshop.build(source)
    assert second.digest != first.digest
    (source / "func.py").write_text(HANDLER)
    assert (await workshop.build(source)).digest == first.digest


async def test_an_executable_bit_is_content(workshop: Workshop, source: Path) -> None:
    first = await workshop.build(source)
    (source / "other.py").chmod(0o755)
    assert (await workshop.build(source)).digest != first.digest


@pytest.mark.parametrize("tool", ["pip", pytest.param("uv", marks=needs_uv)])
async def test_dependencies_are_installed_once_and_then_need_no_index(
    workshop: Workshop, tmp_path: Path, tool: str
) -> None:
    workshop.path = os.environ["PATH"] if tool == "uv" else str(tmp_path / "empty")
    source = write_function(tmp_path / "function", requirements="shapes==1.0  # a comment\n")
    built = await workshop.build(source)
    names = workshop.names(built, "dependencies")
    assert "opt/funcs/deps/shapes/__init__.py" in names
    assert not [name for name in names if "/bin/" in name or name.endswith(("RECORD", "INSTALLER"))]
    shutil.rmtree(workshop.wheels)
    (source / "func.py").write_text(HANDLER + "\n")
    again = await workshop.build(source)
    assert [layer.name for layer in again.layers if not layer.cached] == ["source"]


@pytest.mark.parametrize("tool", ["pip", pytest.param("uv", marks=needs_uv)])
async def test_a_dependency_that_does_not_resolve_is_named(workshop: Workshop, tmp_path: Path, tool: str) -> None:
    workshop.path = os.environ["PATH"] if tool == "uv" else str(tmp_path / "empty")
    source = write_function(tmp_path / "function", requirements="shapes==1.0\nno-such-thing==9\n")
    with pytest.raises(Invalid, match="the dependency no-such-thing") as caught:
        await workshop.build(source)
    assert caught.value.reason == "DependencyUnresolved"
    assert caught.value.hint


async def test_a_dependency_may_not_hide_the_runtime(workshop: Workshop, tmp_path: Path) -> None:
    make_wheel(workshop.wheels, "impostor", "1.0", package="funcs")
    source = write_function(tmp_path / "function", requirements="impostor\n")
    with pytest.raises(Conflict, match="'funcs'"):
        await workshop.build(source)


async def test_a_function_may_not_hide_the_runtime(workshop: Workshop, source: Path) -> None:
    (source / "funcs.py").write_text("")
    with pytest.raises(Conflict, match=r"funcs\.py"):
        await workshop.build(source)


async def test_a_function_may_have_packages_named_as_ours_are(workshop: Workshop, source: Path) -> None:
    for name in ("pipelines", "runtimes"):
        (source / name).mkdir()
        (source / name / "__init__.py").write_text("")
    names = workshop.names(await workshop.build(source), "source")
    assert "func/pipelines/__init__.py" in names


async def test_without_a_handler_the_remedy_is_named(workshop: Workshop, source: Path) -> None:
    (source / "func.py").unlink()
    with pytest.raises(Invalid, match=r"neither func\.py") as caught:
        await workshop.build(source)
    assert "handle(ctx, event)" in (caught.value.hint or "")


async def test_a_syntax_error_is_named_with_its_line(workshop: Workshop, source: Path) -> None:
    (source / "func.py").write_text("x = 1\ndef handle(:\n")
    with pytest.raises(Invalid, match=r"func\.py, line 2"):
        await workshop.build(source)


async def test_secrets_and_rubbish_stay_at_home(workshop: Workshop, source: Path) -> None:
    for path in (".env", ".env.production", ".git/config", ".venv/pyvenv.cfg", "__pycache__/x.pyc", "notes.tmp"):
        (source / path).parent.mkdir(exist_ok=True)
        (source / path).write_text("secret")
    (source / ".gitignore").write_text("*.tmp\n")
    (source / ".funcignore").write_text("!.env\n!.git/\n")
    names = workshop.names(await workshop.build(source), "source")
    assert [name for name in names if "__pycache__" not in name] == ["func", "func/func.py", "func/other.py"]


async def test_the_image_says_how_it_is_run(workshop: Workshop, source: Path) -> None:
    built = await workshop.build(source)
    configuration = workshop.configuration(built)
    execution = configuration.config
    assert execution is not None
    assert execution.entrypoint == ["/usr/local/bin/python3", "-m", "funcs._runtime.function"]
    assert execution.user == "65532:65532"
    assert execution.working_dir == "/func"
    assert "PYTHONPATH=/func:/opt/funcs/deps:/opt/funcs/runtime:/opt/funcs/lib" in (execution.env or [])
    assert (execution.labels or {})["dev.funcs.base"] == "host"
    assert [line.created_by for line in configuration.history or []] == [
        f"funcs: {layer.name}" for layer in built.layers
    ]
    assert configuration.created == "1980-01-01T00:00:01Z"


async def test_the_runtime_is_under_funcs_alone(workshop: Workshop, source: Path) -> None:
    names = workshop.names(await workshop.build(source), "runtime")
    assert "opt/funcs/runtime/funcs/_runtime/http/__init__.py" in names
    assert "opt/funcs/runtime/funcs/sdk/__init__.py" in names
    assert {name.split("/")[3] for name in names if name.startswith("opt/funcs/runtime/")} == {"funcs"}
    assert any(name.startswith("opt/funcs/lib/httptools/") for name in names)
    assert not any("/platform/" in name or "/oci/" in name or "/control/" in name for name in names)


REFUSED = [
    pytest.param("-e .\n", "'-e' is not supported", id="editable"),
    pytest.param("./local\n", "only wheels", id="directory"),
    pytest.param("git+https://example.org/x.git\n", "only wheels", id="repository"),
    pytest.param("x @ https://example.org/x.tar.gz\n", "only wheels", id="archive"),
    pytest.param("-r ../../etc/passwd\n", "outside", id="a file outside"),
    pytest.param("-r requirements.txt\n", "includes itself", id="itself"),
    pytest.param("not a requirement\n", "line 1", id="nonsense"),
    pytest.param("--target /\n", "'--target' is not supported", id="an option of the installer"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_requirements_that_cannot_be_met_by_wheels_are_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "requirements.txt").write_text(text)
    with pytest.raises(Invalid, match=why):
        requirements.read(tmp_path)


def test_requirements_are_read_with_hashes_options_and_nesting(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        "--index-url https://example.org/simple\n-r more.txt\n-c limits.txt\n"
        "a==1 \\\n  --hash=sha256:00 \\\n  --hash=sha256:11\n# nothing\n\nb[extra]>=2 ; python_version >= '3'\n"
    )
    (tmp_path / "more.txt").write_text("c\n")
    (tmp_path / "limits.txt").write_text("c<3\n")
    found = requirements.read(tmp_path)
    assert found.lines == ("c", "a==1 --hash=sha256:00 --hash=sha256:11", "b[extra]>=2 ; python_version >= '3'")
    assert found.options == ("--index-url", "https://example.org/simple")
    assert found.constraints == ("c<3",)
    assert found.names == ["c", "a", "b"]


def test_dependencies_of_a_project_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\ndependencies = ['a>=1']\n")
    assert requirements.read(tmp_path).lines == ("a>=1",)
