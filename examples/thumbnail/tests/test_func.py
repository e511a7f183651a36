import pytest
from func import wanted_size

from funcs import HTTPError


def test_a_size_is_a_number_of_pixels() -> None:
    assert wanted_size("64") == 64


@pytest.mark.parametrize("text", ["", "-1", "0", "4096", "big"])
def test_another_size_is_refused(text: str) -> None:
    with pytest.raises(HTTPError):
        wanted_size(text)
