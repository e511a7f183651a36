"""Names made from names, byte for byte as knative.dev/pkg/kmeta.ChildName makes them."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from funcs.api import names

lowercase = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=120)


def test_short_names_are_concatenated() -> None:
    assert names.child("hello", "-00001") == "hello-00001"


def test_long_parents_are_cut_and_hashed() -> None:
    parent = "a" * 63
    hashed = hashlib.md5(parent.encode()).hexdigest()
    assert names.child(parent, "-deployment") == "a" * 20 + hashed + "-deployment"


def test_long_suffixes_are_hashed_with_the_parent() -> None:
    suffix = "-" + "s" * 70
    assert names.child("p", suffix).startswith("p" + hashlib.md5(("p" + suffix).encode()).hexdigest())


@given(lowercase, lowercase)
def test_a_child_name_is_never_longer_than_a_label(parent: str, suffix: str) -> None:
    assert len(names.child(parent, suffix)) <= names.LONGEST


@given(lowercase, lowercase)
def test_a_child_name_is_deterministic(parent: str, suffix: str) -> None:
    assert names.child(parent, suffix) == names.child(parent, suffix)
