"""Layers are hostile until proven otherwise."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from funcs.errors import Invalid
from funcs.oci import layer, model
from funcs.oci.layout import Layout
from runtimes.cluster.images import ImageStore
from runtimes.cluster.unpack import Whiteouts, unpack
from tests.node.harness import MACHINE, PULLER, REGISTRY, put_image


def archive(place: Path, *entries: tuple[str, bytes | None, str, bytes]) -> Path:
    """(name, type or None for a file, link, content)"""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, link, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size = kind or tarfile.REGTYPE, link, len(content)
            entry.uid, entry.gid = os.getuid(), os.getgid()
            tar.addfile(entry, io.BytesIO(content))
    blob = place / "blob"
    blob.write_bytes(buffer.getvalue())
    return blob


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([("../evil", None, "", b"x")], id="up"),
        pytest.param([("a/../../evil", None, "", b"x")], id="down and up"),
        pytest.param([("link", tarfile.SYMTYPE, "/", b""), ("link/../../evil", None, "", b"x")], id="link and up"),
        pytest.param([("link", tarfile.SYMTYPE, "../..", b""), ("link/evil", None, "", b"x")], id="relative link"),
        pytest.param([("hard", tarfile.LNKTYPE, "../../etc/passwd", b"")], id="hard link out"),
        pytest.param([("s", tarfile.SYMTYPE, "/etc/passwd", b""), ("h", tarfile.LNKTYPE, "s", b"")], id="link to link"),
        pytest.param([("null", tarfile.CHRTYPE, "", b"")], id="device"),
        pytest.param([("pipe", tarfile.FIFOTYPE, "", b"")], id="pipe"),
        pytest.param([(".wh...", None, "", b"")], id="deleting the parent"),
    ],
)
@pytest.mark.parametrize("whiteouts", list(Whiteouts))
def test_nothing_leaves_the_directory(
    tmp_path: Path, entries: list[tuple[str, bytes | None, str, bytes]], whiteouts: Whiteouts
) -> None:
    target = tmp_path / "root" / "deep"
    target.mkdir(parents=True)
    blob = archive(tmp_path, *entries)
    with pytest.raises(Invalid):
        unpack(blob, model.OCI_LAYER, target, whiteouts)
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "root" / "evil").exists()
    assert target.is_dir()


def test_an_absolute_name_and_an_absolute_link_stay_inside(tmp_path: Path) -> None:
    target = tmp_path / "root"
    target.mkdir()
    blob = archive(
        tmp_path, ("/usr/lib", tarfile.DIRTYPE, "", b""), ("lib", tarfile.SYMTYPE, "/usr/lib", b""),
        ("lib/so", None, "", b"elf"), ("lib", tarfile.SYMTYPE, "usr/lib", b""),
    )  # fmt: skip
    unpack(blob, model.OCI_LAYER, target, Whiteouts.APPLY)
    assert (target / "usr/lib/so").read_bytes() == b"elf"
    assert str((target / "lib").readlink()) == "usr/lib"


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"\x1f\x8b nonsense")
    with pytest.raises(Invalid):
        unpack(tmp_path / "blob", model.OCI_LAYER_GZIP, tmp_path, Whiteouts.APPLY)


LOWER = [layer.file("a/keep", b"1"), layer.file("a/gone", b"2"), layer.file("b/old", b"3")]
UPPER = [layer.file("a/.wh.gone", b""), layer.file("b/.wh..wh..opq", b""), layer.file("b/new", b"4", executable=True)]


async def test_deletions_of_an_upper_layer_are_seen_in_the_tree_and_not_below(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    put_image(layout, "x", "1", [LOWER, UPPER], model.Execution())
    store = ImageStore(layout, MACHINE, REGISTRY, PULLER)
    image = await store.find(f"{REGISTRY}/x:1")
    trees = await asyncio.gather(*(store.snapshot(image, "tree") for _ in range(4)))
    (tree,) = trees[0].directories
    assert all(each == trees[0] for each in trees)
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == ["a", "a/keep", "b", "b/new"]
    assert stat.S_IMODE((tree / "b/new").stat().st_mode) == 0o755
    below = next(path for path in (tmp_path / "snapshots").iterdir() if path.name.endswith("-tree") and path != tree)
    assert (below / "a/gone").read_bytes() == b"2"
    assert not [path for path in (tmp_path / "snapshots").iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts for overlayfs are device nodes: needs root")
async def test_layers_keep_deletions_as_overlayfs_wants_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    put_image(layout, "x", "1", [LOWER, UPPER], model.Execution())
    store = ImageStore(layout, MACHINE, REGISTRY, PULLER)
    top, bottom = (await store.snapshot(await store.find(f"{REGISTRY}/x:1"), "layers")).directories
    assert stat.S_ISCHR((top / "a/gone").stat().st_mode)
    assert os.getxattr(top / "b", "trusted.overlay.opaque") == b"y"
    assert (bottom / "a/gone").read_bytes() == b"2"
