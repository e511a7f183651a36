from func import greeting


def test_the_caller_is_greeted_by_name() -> None:
    assert greeting({"name": "Ada"}) == {"message": "Hello, Ada!"}


def test_a_caller_without_a_name_is_greeted_too() -> None:
    assert greeting(None) == {"message": "Hello, world!"}
