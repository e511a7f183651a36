"""Tekton's own examples: admitted where funcs does what they use, refused by name where it does not (yet)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from funcs.api import admission, catalog
from pipelines.language.admission import RULES

DATA = Path(__file__).parent.parent / "data" / "tekton"
EXAMPLES = sorted(str(path.relative_to(DATA)) for path in DATA.rglob("*.yaml"))
REFUSED = {
    "x": "y",
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example: str) -> None:
    for obj in yaml.safe_load_all((DATA / example).read_text()):
        if not obj:
            continue
        kind = catalog.kind_of(obj)
        admission.admit(admission.Request(kind=kind, operation="CREATE", object=obj), RULES)
