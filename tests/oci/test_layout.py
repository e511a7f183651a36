"""An image layout: whole blobs, one truth about names, collection that loses nothing in use."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from funcs.errors import Conflict, Invalid, NotFound, Unsupported
from funcs.oci import layer, model
from funcs.oci.layout import Layout
from funcs.oci.model import Descriptor

from .conftest import make_image

LATER = 3600


def test_what_is_put_is_read_by_its_digest(layout: Layout) -> None:
    digest = layout.put(b"content")
    assert digest == model.digest_of(b"content")
    assert layout.read(digest) == b"content"
    assert layout.size(digest) == 7


def test_content_that_is_not_what_was_said_is_not_kept(layout: Layout) -> None:
    wrong = "sha256:" + "0" * 64
    with pytest.raises(Invalid, match="not sha256:000"):
        layout.put_stream([b"con", b"tent"], wrong)
    assert not layout.has(wrong)
    assert list((layout.root / "ingest").iterdir()) == []
    assert list(layout.blobs.iterdir()) == []


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "", "latest", "sha256:" + "F" * 64, "/etc/passwd"])
def test_only_a_digest_becomes_a_path(layout: Layout, digest: str) -> None:
    with pytest.raises(Invalid):
        layout.blob_path(digest)


@pytest.mark.parametrize("repository", ["../x", "/x", "x/../y", "X", ""])
def test_only_a_repository_gets_a_name(layout: Layout, image: Descriptor, repository: str) -> None:
    with pytest.raises(Invalid):
        layout.tag(repository, image, "latest")


def test_a_tag_moves_and_what_it_named_stays_by_digest(layout: Layout) -> None:
    first, second = make_image(layout, b"one"), make_image(layout, b"two")
    assert layout.resolve("tests/hello", "latest") == second
    assert layout.resolve("tests/hello", first.digest) == first
    assert layout.resolve("tests/other", first.digest) is None
    assert layout.tags("tests/hello") == ["latest"]
    assert layout.repositories() == ["tests/hello"]


def test_another_process_sees_it_at_once(layout: Layout) -> None:
    other = Layout(layout.root)
    assert other.repositories() == []
    stored = make_image(layout, b"x")
    assert other.resolve("tests/hello", "latest") == stored


def test_tags_put_at_once_are_all_kept(layout: Layout, image: Descriptor) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: Layout(layout.root).tag("tests/many", image, f"v{n}"), range(32)))
    assert len(layout.tags("tests/many")) == 32


def test_naming_again_writes_nothing(layout: Layout, image: Descriptor) -> None:
    before = (layout.root / "index.json").stat().st_ino
    layout.tag("tests/hello", image, "latest")
    assert (layout.root / "index.json").stat().st_ino == before


def test_it_is_a_layout_as_the_specification_has_it(layout: Layout, image: Descriptor) -> None:
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout.root / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "tests/hello:latest"


def test_a_manifest_of_something_absent_is_refused(layout: Layout, tmp_path: Path) -> None:
    elsewhere = Layout(tmp_path / "elsewhere")
    stored = make_image(elsewhere, b"x")
    with pytest.raises(Invalid, match="not here"):
        layout.put_manifest("tests/x", elsewhere.read(stored.digest), stored.media_type, "v1")


def test_collection_keeps_what_is_tagged(layout: Layout, image: Descriptor) -> None:
    assert layout.collect(time.time() + LATER) == []
    assert layout.resolve("tests/hello", "latest") == image


def test_collection_takes_what_nothing_needs(layout: Layout, image: Descriptor) -> None:
    stray = layout.put(b"stray")
    layout.delete("tests/hello", "latest")
    removed = layout.collect(time.time() + LATER)
    assert {stray, image.digest} <= set(removed)
    assert list(layout.blobs.iterdir()) == []
    assert layout.repositories() == []


def test_collection_waits_for_what_is_new(layout: Layout) -> None:
    digest = layout.put(b"on its way")
    assert layout.collect(time.time() - LATER) == []
    assert layout.has(digest)


def test_a_lease_keeps_an_image_without_a_tag(layout: Layout, image: Descriptor) -> None:
    layout.lease("pod-1", [image.digest])
    layout.delete("tests/hello", "latest")
    assert layout.collect(time.time() + LATER) == []
    assert layout.resolve("tests/hello", image.digest) == image
    layout.release("pod-1")
    assert image.digest in layout.collect(time.time() + LATER)


def test_a_lease_is_for_manifests_that_are_here(layout: Layout) -> None:
    with pytest.raises(NotFound):
        layout.lease("pod-1", ["sha256:" + "0" * 64])
    with pytest.raises(Invalid):
        layout.lease("../x", [])


def test_a_newer_format_is_refused(layout: Layout) -> None:
    (layout.root / "format").write_text("2\n")
    with pytest.raises(Unsupported, match="format '2'"):
        Layout(layout.root)


def test_a_layer_is_the_same_whatever_the_order_and_the_times(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"file")
    entries = [layer.file("b/two", tmp_path / "f"), layer.file("a", b"one"), layer.symlink("c", "a")]
    first, second = io.BytesIO(), io.BytesIO()
    made = layer.write(entries, first)
    (tmp_path / "f").touch()
    assert layer.write(reversed(entries), second) == made
    assert first.getvalue() == second.getvalue()
    with tarfile.open(fileobj=io.BytesIO(first.getvalue())) as archive:
        assert archive.getnames() == ["a", "b", "b/two", "c"]
        assert {(member.uid, member.gid, member.uname, member.mtime) for member in archive} == {(0, 0, "", layer.TIME)}


def test_a_compressed_layer_is_named_by_both_digests() -> None:
    plain, packed = io.BytesIO(), io.BytesIO()
    entries = [layer.file("a", b"one" * 1000)]
    made = layer.write(entries, packed, "gzip")
    assert layer.write(entries, plain).diff_id == made.diff_id
    assert gzip.decompress(packed.getvalue()) == plain.getvalue()
    assert made.descriptor.digest == model.digest_of(packed.getvalue())
    assert made.descriptor.size == len(packed.getvalue())
    assert packed.getvalue()[4:10] == b"\0\0\0\0\0\xff", "no time, no operating system"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../b", "", "a//b", "./a", "a\0b"])
def test_a_layer_has_no_path_that_leads_out(path: str) -> None:
    with pytest.raises(Invalid):
        layer.file(path, b"")


def test_two_things_at_one_path_are_refused() -> None:
    with pytest.raises(Conflict, match="at a in one layer"):
        layer.write([layer.file("a", b"1"), layer.file("a", b"2")], io.BytesIO())


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"schemaVersion":2}', b'{"config":3}', b"[" * 100_000, b'{"manifests":[{"digest":"x"}]}'],
)
def test_a_broken_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        model.children(data, model.media_type_of(data, "it"), "it")
