import pytest

from hf_distill.utils.main_process import on_main_process


def test_the_result_or_the_error_of_the_function_comes_back():
    assert on_main_process(lambda: [1, 2]) == [1, 2]
    error = ValueError("no rows")
    with pytest.raises(ValueError, match="no rows") as raised:
        on_main_process(lambda: (_ for _ in ()).throw(error))
    assert raised.value is error
