"""`hf-distill train --student_trim_vocabulary`: a student with only the word pieces of its texts."""

import json

import pytest
import torch
from command_line import flags
from tiny import SPECIAL, WORDS
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_distill.cli import main

TEXTS = ["good film", "bad film", "a plot", "great plot", "awful film", "a film"]
LABELS = ["positive", "negative", "neutral", "positive", "negative", "neutral"]


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A student with all layers of its teacher that learned nothing."""
    out = tmp_path_factory.mktemp("trimmed") / "student"
    rows = out.with_name("few_words.csv")
    rows.write_text("text,label\n" + "".join(f"{t},{label}\n" for t, label in zip(TEXTS, LABELS, strict=True)))
    changes = {"train_file": rows, "student_num_hidden_layers": 4, "learning_rate": 0.0, "max_steps": 1}
    trim = ["--student_trim_vocabulary", "True", "--cache_teacher_outputs", "True"]
    main(["train", *flags(folder, out, **changes), *trim, "--teacher_cache_dir", str(out.with_name("cache"))])
    return out


def logits(folder, texts):
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    with torch.no_grad():
        return model.eval()(**tokenizer(texts, return_tensors="pt", padding=True)).logits


def test_the_student_has_only_the_pieces_of_the_training_texts(trained):
    words = {word for text in TEXTS for word in text.split()}
    assert set(AutoTokenizer.from_pretrained(trained).get_vocab()) == words | set(SPECIAL)
    model = AutoModelForSequenceClassification.from_pretrained(trained)
    assert model.get_input_embeddings().num_embeddings == len(words) + len(SPECIAL)


def test_a_student_with_all_layers_answers_the_training_texts_as_its_teacher_does(trained, folder):
    torch.testing.assert_close(logits(trained, TEXTS), logits(folder / "teacher", TEXTS))


def test_the_record_says_how_much_of_the_validation_texts_is_lost(trained):
    vocabulary = json.loads((trained / "distillation.json").read_text())["dataset"]["vocabulary"]
    assert vocabulary["pieces"] == {"before": len(WORDS) + len(SPECIAL), "after": 12}
    assert 0 < vocabulary["held_out"]["lost"] < 1


@pytest.mark.parametrize("changes", [{"fine_tune_teacher": True}, {"student_model_name_or_path": "x"}])
def test_trimming_is_refused_where_it_would_not_do_what_it_says(folder, tmp_path, capsys, changes):
    if "student_model_name_or_path" in changes:
        changes = {**changes, "student_num_hidden_layers": None}
    with pytest.raises(SystemExit):
        main(["train", *flags(folder, tmp_path, **changes), "--student_trim_vocabulary", "True"])
    assert "--student_trim_vocabulary is for a student made from a teacher" in capsys.readouterr().err
