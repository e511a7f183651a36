"""Flags that are kept: what `funcs deploy` writes into func.yaml before it deploys.

Law: everything else in the file stays as it is. IO: func.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from funcs.errors import Invalid


def edit(directory: Path, envs: Iterable[str], annotations: Iterable[str]) -> None:
    """Raises Invalid for a flag that is not NAME=VALUE (or, for --env, NAME-)."""
    from funcs.project import funcfile

    function = funcfile.read(directory).function
    changes: dict[str, object] = {}
    wanted = list(envs)
    if wanted:
        pairs = {pair.name: pair.value for pair in function.envs if pair.name is not None}
        nameless = [{"value": pair.value} for pair in function.envs if pair.name is None]
        for text in wanted:
            if text.endswith("-") and "=" not in text:
                pairs.pop(text[:-1], None)
            else:
                name, value = _pair(text, "--env")
                pairs[name] = value
        changes["run.envs"] = [*({"name": name, "value": value} for name, value in pairs.items()), *nameless]
    marks = dict(_pair(text, "--annotation") for text in annotations)
    if marks:
        changes["deploy.annotations"] = (function.deploy.annotations or {}) | marks
    if changes:
        funcfile.update(directory, changes)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise Invalid(f"{option} {text!r} is not NAME=VALUE", hint=f"Write it as in {option} name=value.")
    return name, value
