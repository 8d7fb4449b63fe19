"""Every code block of the pages is run, is output, or says why it is not run (see `support/pages.py`)."""

import collections
import gc
import shutil

import pytest
from docs_folder import LABELS, NAMES, reader_values, save, write_docs_folder
from pages import LANGUAGES, PAGES, check_flags, commands_of, indented_code, read_blocks, run_page
from tiny import tiny_model, tiny_rows, tiny_tokenizer

from hf_distill.record import read_record
from hf_distill.search.space import read_space

pytestmark = [pytest.mark.docs, pytest.mark.usefixtures("one_plot")]

BLOCKS = {page: read_blocks(page) for page in PAGES}
CODE = ("python", "bash")
README = "README.md"
EXPORT = "docs/export.md"  # goes on from the student and the export of the README
EXTENDING = "docs/extending.md"  # see test_extending.py
YOUR_DATA = "docs/your_data.md"
TWO_STAGES = "examples/two_stages/README.md"
STUDENTS = "docs/students.md"  # names sizes that need a wider teacher
TO_RUN = [
    page
    for page, blocks in BLOCKS.items()
    if page not in (README, EXPORT, YOUR_DATA, EXTENDING, TWO_STAGES)
    and any(b.language in CODE and b.reason is None for b in blocks)
]
# How many blocks are not run, and why.
NOT_RUN = {"hub": 5, "minutes": 27}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return write_docs_folder(tmp_path_factory.mktemp("docs"))


@pytest.fixture
def folder(template, tmp_path, monkeypatch):
    """A copy of the folder of a reader, as the working folder."""
    shutil.copytree(template, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    gc.collect()
    gc.freeze()  # pages import much, which every training would look at again
    return tmp_path / "work"


@pytest.mark.parametrize("page", TO_RUN)
def test_the_code_of_a_page_runs(folder, page):
    values = reader_values()
    if page == STUDENTS:
        values["teacher"] = tiny_model(3, 2, hidden_size=256, intermediate_size=512, **LABELS)
        values["rows"] = values["rows"].select_columns(["input_ids", "attention_mask"])
        save(values["teacher"], folder / "teacher", values["tokenizer"])
    run_page(page, values)


def test_the_code_of_the_readme_runs_and_scores_a_teacher_with_another_order_by_name(folder):
    """The second class in alphabetical order is the positive class of F1, wherever the teacher has it."""
    values = {}  # the README needs no variables
    outputs = run_page(README, values)
    metrics = values["trainer"].evaluate()
    teacher, rows = tiny_model(4, 2, seed=4, **LABELS), tiny_rows(40, 2)  # those of `make demo` in the folder
    answers = [teacher(**tiny_tokenizer()(row["text"], return_tensors="pt")).logits.argmax().item() for row in rows]
    is_found = [NAMES[answer] == "positive" for answer in answers]
    is_positive = [row["label"] > 0 for row in rows]
    num_right = sum(a and b for a, b in zip(is_found, is_positive, strict=True))
    f1 = 2 * num_right / (sum(is_found) + sum(is_positive))
    accuracy = sum(a == b for a, b in zip(is_found, is_positive, strict=True)) / 40
    assert metrics["eval_teacher_f1"] == pytest.approx(f1)
    assert metrics["eval_teacher_accuracy"] == pytest.approx(accuracy)
    assert f1 != pytest.approx(2 * (40 * accuracy - num_right) / (80 - sum(is_found) - sum(is_positive)))
    assert "baseline (no teacher)" in outputs[0]
    assert read_record(folder / "student")["training"]["learning_rate"] == 1e-4  # of recipes/distill.yaml
    run_page(EXPORT, reader_values())


def test_the_code_of_your_data_runs_and_both_commands_draw_the_same_validation_rows(folder):
    outputs = run_page(YOUR_DATA, reader_values())
    assert "validation  banking.csv" in outputs[-3]
    for output in outputs[-2:]:
        assert "4 of 40 rows, 4 labelled; 10 % of the labelled rows of train" in output


def test_the_recipes_of_two_stages_run_one_after_the_other(folder):
    run_page(TWO_STAGES, {})
    first, second, reference = (read_record(folder / name) for name in ("stage1", "stage2", "one_stage"))
    assert first["objectives"].keys() == {"embedding_mse", "hidden_mse", "attention_mse"}
    assert second["objectives"].keys() == reference["objectives"].keys() == {"kl", "ce"}
    assert second["student"]["num_hidden_layers"] == 3


def test_the_space_of_a_search_is_read(tmp_path):
    (block,) = (block for block in BLOCKS["docs/search.md"] if block.file_name == "space.yaml")
    (tmp_path / "space.yaml").write_text(block.code)
    assert read_space(tmp_path / "space.yaml").keys() >= {"depth", "learning_rate"}


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCKS[page]])
def test_every_block_has_a_language_and_is_run_or_says_why_not(page):
    for block in BLOCKS[page]:
        place = f"{page}, line {block.line}"
        assert block.language in LANGUAGES, place
        assert block.reason in (None, *NOT_RUN), place
        is_known = block.language in (*CODE, "text") or block.file_name is not None or block.reason is not None
        assert is_known, f"{place}: name the file that this block is"


def test_few_blocks_are_not_run():
    assert collections.Counter(b.reason for blocks in BLOCKS.values() for b in blocks if b.reason) == NOT_RUN


def test_the_flags_of_commands_that_are_not_run_exist(template, monkeypatch):
    monkeypatch.chdir(template)
    blocks = [block for page in PAGES for block in BLOCKS[page] if block.reason is not None]
    commands = [words for block in blocks if block.language == "bash" for words in commands_of(block)]
    for words in commands:
        if words[0] == "hf-distill":
            check_flags(words)


@pytest.mark.parametrize("page", PAGES)
def test_code_is_in_fences(page):
    """Code that is only indented names no language, and no test would see it."""
    assert indented_code(page) == []
