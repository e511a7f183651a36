"""What the command line costs before it does anything: few imports, because each is paid for by every command."""

import subprocess
import sys

import pytest

HEAVY = ("kubernetes", "httpx", "aiohttp", "starlette", "cookiecutter", "rich", "yaml", "msgspec", "asyncio")
PROGRAM = """
import sys
from funcs.cli.main import cli
try:
    cli([sys.argv[1]])
except SystemExit:
    pass
print(",".join(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_asking_for_version_or_help_imports_nothing_heavy(option: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, option], capture_output=True, text=True, check=True)
    assert "funcs" in done.stdout
    assert set(done.stderr.strip().split(",")) & set(HEAVY) == set()
