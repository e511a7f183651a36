"""Which function a command means: the one named, or the one in this directory.

Law: the same for every command. IO: reads func.yaml of the present directory, when no name is given.
"""

from __future__ import annotations

from pathlib import Path


def chosen(name: str, namespace: str, directory: Path = Path()) -> tuple[str, str]:
    """(name, namespace). Raises NotFound when neither a name nor a func.yaml is there."""
    if name:
        return name, namespace or "default"
    from funcs.project import funcfile

    function = funcfile.read(directory.absolute()).function
    return function.name, namespace or function.namespace or function.deploy.namespace or "default"
