"""Without privileges there is no pid namespace that takes a pod's processes along: they are found all the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
HERE = Path(__file__).resolve().parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="funcs-nobody-") as directory:
        if os.getuid() == 0:
            os.chown(directory, NOBODY, NOBODY)
        yield Path(directory)


def passable(path: Path) -> bool:
    """Whether any user may come as far as this file."""
    return all(each.stat().st_mode & 0o001 for each in path.resolve().parents)


def interpreter() -> str:
    """A Python of this version that another user can start."""
    version = f"python3.{sys.version_info.minor}"
    candidates = [os.path.realpath(sys.executable), *(f"{each}/{version}" for each in ("/usr/local/bin", "/usr/bin"))]
    found = [each for each in candidates if shutil.which(each) and (os.getuid() != 0 or passable(Path(each)))]
    packages = [Path(each) for each in sys.path if each.endswith("site-packages")]
    if not found or (os.getuid() == 0 and not all(passable(each / "x") for each in (HERE, *packages))):
        pytest.skip("no Python and packages that another user can reach")
    return found[0]


def test_no_process_is_left_when_shims_are_killed(place: Path) -> None:
    packages = [str(HERE), *(each for each in sys.path if each.endswith("site-packages"))]
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    done = subprocess.run(
        [interpreter(), "-m", "tests.node.unprivileged", str(place)],
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(place), "PYTHONPATH": os.pathsep.join(packages)},
        cwd=place, capture_output=True, text=True, timeout=60, check=False, **identity,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "plain processes" in told["runtime"]
    assert told["uid"] != 0
    assert told["before"] >= 3
    assert (told["survived the shim"], told["left"], told["pods"]) == (0, 0, [])
