"""`funcs doctor`."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict

import click

from . import output as out
from .exits import NOT_READY
from .wiring import Wiring, output_option, pass_wiring, say


@click.command("doctor")
@output_option
@pass_wiring
def command(wiring: Wiring, output: str) -> None:
    """Check what this machine can do for the platform; ends with 0 unless it cannot be used here."""
    from funcs.control.clock import SystemClock
    from funcs.platform.doctor import Level, Machine, examine
    from funcs.platform.places import Ports

    path = wiring.environ.get("PATH", os.defpath)
    machine = Machine(places=wiring.places, ports=Ports(), path=path, now=SystemClock().now())
    findings = list(examine(machine))
    if output != "table":
        out.emit(out.document("FindingList", [asdict(finding) for finding in findings]), output)
    else:
        out.table(("WHAT", "STATE", "FOUND"), [(found.what, found.level, found.found) for found in findings])
        for finding in findings:
            if finding.remedy:
                say(f"{finding.what}: {finding.remedy}")
    if any(finding.level is Level.PROBLEM for finding in findings):
        sys.exit(NOT_READY)
