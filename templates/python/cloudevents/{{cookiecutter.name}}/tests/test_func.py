from func import reply


def test_the_reply_holds_what_was_received() -> None:
    assert reply({"n": 1}) == {"received": {"n": 1}}
