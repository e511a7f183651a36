"""`funcs deploy`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from funcs.errors import Invalid

from . import output as out
from .wiring import Wiring, namespace_option, pass_wiring, path_argument, say


@click.command("deploy")
@path_argument
@namespace_option
@click.option("--image", default="", help="An image by digest: deployed as it is. Else where to push.")
@click.option("-e", "--env", "envs", multiple=True, metavar="NAME=VALUE", help="Kept in func.yaml; NAME- removes it.")
@click.option("--annotation", "annotations", multiple=True, metavar="NAME=VALUE", help="Kept in func.yaml.")
@click.option("--dry-run", is_flag=True, help="Print the resources; build and change nothing.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Until the new Revision serves.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=120.0, show_default=True, help="Seconds to wait."
)
@click.option("--git/--no-git", default=True, show_default=True, help="Make the cluster a git remote, `funcs`.")
@pass_wiring
def command(wiring: Wiring, /, path: str, **options: Any) -> None:
    """Build a function's image, push it, run it and print its URL."""
    from funcs.deploy.deployment import Deployment, deploy

    from .choosing import chosen
    from .editing import edit
    from .shipping import destination

    directory = Path(path).absolute()
    name, namespace = chosen("", options["namespace"], directory)
    image = options["image"]
    _check(wiring, image, git=options["git"], dry=options["dry_run"])
    edit(directory, options["envs"], options["annotations"])
    wanted = Deployment(
        directory=directory,
        namespace=namespace,
        image=image if "@" in image else "",
        destination=destination(wiring, directory, namespace, "" if "@" in image else image),
        environ=wiring.environ,
        seconds=options["timeout"] if options["wait"] else 0.0,
    )
    if options["dry_run"]:
        for obj in wanted.resources(wanted.image):
            out.emit(obj, "yaml")
            click.echo("---")
        return

    async def work() -> str:
        async with wiring.client() as client:
            return await deploy(client, wanted, say)

    click.echo(wiring.run(work))
    if options["git"]:
        _connect(wiring, directory, namespace, name)


def _check(wiring: Wiring, image: str, *, git: bool, dry: bool) -> None:
    """What can be known to be missing before anything is written. Raises Invalid, NotFound, Unavailable."""
    from funcs.deploy import remote
    from funcs.oci import reference

    if image:
        reference.parse(image)
    if dry and "@" not in image:
        raise Invalid("--dry-run builds nothing", hint="Name the image by digest: --image REPOSITORY@sha256:…")
    if not dry:
        wiring.require_up()
    if git and not dry:
        remote.check()


def _connect(wiring: Wiring, directory: Path, namespace: str, name: str) -> None:
    """Make the cluster a git remote of the function's directory."""
    from funcs.deploy.remote import Repository, connect

    base = f"http://127.0.0.1:{wiring.record.ports.hub}/git"
    helper = f"!{sys.executable} -m funcs --cluster={wiring.cluster} git-credential"
    if connect(directory, Repository(base, namespace, name, helper)):
        say(f"Made a git repository in {directory}; `git push funcs main` deploys what is committed.")
