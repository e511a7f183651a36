"""What the doctor finds, and what it tells to do about it."""

import os
import socket
from pathlib import Path

import pytest

from funcs.platform import doctor
from funcs.platform.doctor import Level, Machine
from funcs.platform.places import FORMAT, Places, Ports, Record

NOW = 1_800_000_000.0


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "cluster")


def test_an_old_python_is_a_problem() -> None:
    found = doctor.python((3, 10, 4))
    assert (found.level, found.remedy) == (Level.PROBLEM, "Use Python 3.11 or newer.")
    assert doctor.python((3, 11, 0)).level is Level.OK


def test_without_git_only_pushes_are_lost(tmp_path: Path) -> None:
    found = doctor.git(str(tmp_path))
    assert found.level is Level.WARNING
    assert found.remedy == "Install git, or deploy with --no-git."


def test_a_git_that_is_too_old_is_named_with_its_version(tmp_path: Path) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\necho git version 2.17.1\n")
    program.chmod(0o755)
    assert doctor.git(f"{tmp_path}:{os.defpath}").found == "git version 2.17.1: too old"


def test_dependencies_need_an_installer(tmp_path: Path) -> None:
    assert doctor.installer(str(tmp_path), pip=False).level is Level.WARNING
    assert doctor.installer(str(tmp_path), pip=True).level is Level.OK


def test_without_crun_pods_are_processes_and_crun_is_the_remedy(tmp_path: Path, places: Places) -> None:
    found = doctor.isolation(Machine(places=places, ports=Ports(), path=str(tmp_path), now=NOW))
    assert found.level is Level.WARNING
    assert "plain processes" in found.found
    assert "install crun" in found.remedy


def test_crun_that_was_asked_for_and_is_not_there_is_a_problem(tmp_path: Path, places: Places) -> None:
    machine = Machine(places=places, ports=Ports(), path=str(tmp_path), now=NOW, isolation="crun")
    assert doctor.isolation(machine).level is Level.PROBLEM


def test_no_control_groups_means_no_limits(tmp_path: Path) -> None:
    assert doctor.control_groups(str(tmp_path / "none")).level is Level.WARNING
    (tmp_path / "cgroup.controllers").touch()
    assert doctor.control_groups(str(tmp_path)).found == f"v2 at {tmp_path}"


def test_a_state_directory_yet_to_be_made_is_fine(places: Places) -> None:
    assert doctor.state(places).level is Level.OK
    assert not places.root.exists()


def test_a_state_directory_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert doctor.state(Places(tmp_path / "file" / "cluster")).level is Level.PROBLEM


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("format", f"{FORMAT + 1}", "this funcs knows up to"),
        ("cluster.json", "{", "cluster.json is damaged"),
        ("tokens.json", "{", "tokens.json is damaged"),
    ],
)
def test_damaged_state_is_a_problem_named_by_its_file(places: Places, file: str, text: str, said: str) -> None:
    places.create()
    (places.root / file).write_text(text)
    found = doctor.state(places)
    assert found.level is Level.PROBLEM
    assert said in found.found
    assert found.remedy


def test_a_full_disk_is_a_problem_and_a_small_one_a_warning(tmp_path: Path) -> None:
    levels = [doctor.disk(tmp_path / "none", free=size).level for size in (1 << 20, 2 << 30, 9 << 30)]
    assert levels == [Level.PROBLEM, Level.WARNING, Level.OK]


def test_a_clock_behind_what_was_written_is_told(places: Places) -> None:
    places.create()
    places.write_record(Record(name="c", node="n", ports=Ports(), cache=places.root))
    os.utime(places.record, (NOW, NOW))
    assert doctor.clock(places, NOW + 1).level is Level.OK
    assert doctor.clock(places, NOW - 3600).found == "the state was written 3600 s in the future"
    assert doctor.clock(places, 0.0).level is Level.PROBLEM


def test_a_port_in_use_is_a_problem_and_a_free_one_is_not(places: Places) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        machine = Machine(places=places, ports=Ports(api=port, hub=0, gateway=0, broker=0), path="", now=NOW)
        levels = [found.level for found in doctor.ports(machine)]
    assert levels == [Level.PROBLEM, Level.OK, Level.OK, Level.OK]
