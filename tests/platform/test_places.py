"""Where the embedded cluster keeps what it keeps."""

from pathlib import Path

import pytest

from funcs.errors import Invalid, NotFound
from funcs.platform.places import FORMAT, Places, Ports, Record, state_root, write_atomically


def test_the_state_directory_follows_xdg() -> None:
    assert state_root({"XDG_STATE_HOME": "/s"}, "a") == Path("/s/funcs/a")
    assert state_root({"HOME": "/h"}) == Path("/h/.local/state/funcs/default")


def test_a_new_directory_is_stamped_with_its_format(tmp_path: Path) -> None:
    Places(tmp_path / "c").create()
    assert (tmp_path / "c" / "format").read_text() == f"{FORMAT}\n"


def test_a_newer_format_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "format").write_text(f"{FORMAT + 1}\n")
    with pytest.raises(Invalid, match=f"has format {FORMAT + 1}") as refused:
        Places(tmp_path).create()
    assert refused.value.hint == "Upgrade funcs to use this cluster."


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    places = Places(tmp_path)
    record = Record(name="c", node="n", ports=Ports(hub=1), cache=Path("/c"))
    places.write_record(record)
    assert places.read_record() == record
    assert record.registry == "localhost:1"


def test_without_a_record_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as missing:
        Places(tmp_path).read_record()
    assert missing.value.hint == "Run `funcs up`."


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"name": 3}')
    with pytest.raises(Invalid, match=r"cluster\.json is damaged"):
        Places(tmp_path).read_record()


def test_sockets_move_out_of_a_directory_whose_path_is_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    assert len(str(Places(deep).run / "autoscaler.sock")) < 108
    assert Places(deep).run != Places(tmp_path / ("e" * 90)).run


def test_a_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"one")
    with pytest.raises(TypeError):
        write_atomically(target, "not bytes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
