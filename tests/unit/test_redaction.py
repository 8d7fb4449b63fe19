"""What is published or printed has neither folders of this machine nor values that can be tokens."""

import time

import pytest

from hf_distill.utils.redaction import REDACTED, publishable, secret_values, without_values

PATHS = {
    "/home/me/data.csv": "data.csv",
    "/home/Smith, John/data.csv": "data.csv",
    '/home/a,b/c=d/it\'s "here"/data, new.csv': "data, new.csv",
    "/home/o'neil/x=y/": "x=y/",
    "~/me/a,b/train.csv": "train.csv",
    "~me/a;b/train.csv": "train.csv",
    "../a,b/c": "c",
    "./a=b/c": "c",
    "file:///home/me/a,b/logs": "logs",
    "D:\\me, you\\data\\x.csv": "x.csv",
    "\\\\server\\share, old\\x.csv": "x.csv",
    "/a/x.txt,/b/c,d/y.csv": "x.txt,y.csv",
    "/a/x.txt,https://example.org/b/y.csv": "x.txt,https://example.org/b/y.csv",
    "--data_dir=/home/Smith, John/data": "--data_dir=data",
    "--export_folder=int8=/data/a,b/onnx_int8,fp32=/data/c/onnx": "--export_folder=int8=onnx_int8,fp32=onnx",
    "int8=/data/a, b/onnx": "int8=onnx",
    '{"a": "/home/me/x,y/z", "b": "/srv/o\'neil/y", "c": "and/or"}': '{"a": "z", "b": "y", "c": "and/or"}',
    "read '/home/me/a b/x.csv', then and/or": "read 'x.csv', then and/or",
    "/home": "home",
    "/home/me//": "me//",
}
UNCHANGED = [
    "user/name", "and/or", "a, b/c", "https://example.org/a,b/c", "google-bert/bert-base-uncased", "3/4 of 1 / 2", "",
    "x=a/b", "/", "//", "datasets/glue, sst2", "text (see https://a.b/c)",
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), PATHS.items())
def test_a_path_is_shortened_to_its_last_part_whatever_its_folders_are_called(text, expected):
    assert publishable(text) == expected
    assert publishable([{text: text}]) == [{expected: expected}]
    assert publishable(expected) == expected


@pytest.mark.parametrize("text", UNCHANGED)
def test_what_is_not_a_path_from_a_root_is_kept(text):
    assert publishable(text) == text


@pytest.mark.parametrize(
    "text", ["/" * 50_000, ",/" * 50_000, "~" * 50_000, ",~" * 50_000, "/a," * 50_000, "'/" * 50_000]
)
def test_no_text_takes_long_to_shorten(text):
    start = time.process_time()
    publishable(text)
    assert time.process_time() - start < 5


def test_values_that_can_be_tokens_are_not_repeated():
    key = "0123456789abcdef" * 2 + "01234567"
    words = ["--hub_tokn", "plain-secret", f"--wandb-api-key={key}", "--seed", "abc"]
    words += [f"--learning_rate=ghp_{key[:16]}", "--optim", "adamw", "--my_password", "a"]
    assert secret_values(words) == [key]
    assert secret_values([]) == []  # `hf-distill train` without a flag
    message = f"not a number: {' '.join(words)}"
    shown = without_values(message, words)
    assert key[:16] not in shown
    assert shown.count(REDACTED) == 2
    assert "--seed abc" in shown
    assert "adamw" in shown
