import pytest

from hf_distill.utils.main_process import _portable, on_main_process


class WithKeyword(Exception):
    def __init__(self, message, *, code):
        super().__init__(message)
        self.code = code


def test_the_result_or_the_error_of_the_function_comes_back():
    assert on_main_process(lambda: [1, 2]) == [1, 2]
    with pytest.raises(ValueError, match="no rows"):
        on_main_process(lambda: int("no rows"))


def test_an_error_of_another_package_becomes_one_of_python_with_its_message():
    error = _portable(WithKeyword("no room", code=3))
    assert type(error) is RuntimeError
    assert str(error) == "WithKeyword: no room"
    known = KeyError("a")
    assert _portable(known) is known
