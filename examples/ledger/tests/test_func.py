from func import entry


def test_an_entry_says_what_was_measured() -> None:
    assert entry({"name": "p.jpg", "width": 30, "height": 20}) == "p.jpg is 30 by 20"
