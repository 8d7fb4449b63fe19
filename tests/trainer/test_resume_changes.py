"""Whatever changes the result of a resumed run is part of its fingerprint, and is named when it differs."""

import copy

import pytest
import torch
from datasets import Dataset, Value
from invariance import accuracy, make_args
from letters import letters_tokenizer, roberta
from tiny import LABEL_NAMES, tiny_dataset, tiny_model, tiny_tokenizer
from tokenizers import processors
from transformers import DataCollatorWithPadding

from hf_distill import DistillationTrainer
from hf_distill.data import MaskingCollator
from hf_distill.teachers import FunctionTeacher
from hf_distill.training.row_hashes import hash_columns
from hf_distill.training.run_identity import describe_collator

BEST = {
    "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1,
    "metric_for_best_model": "accuracy",
}  # fmt: skip


@pytest.fixture
def fingerprint(models, dataset, tokenizer, tmp_path):
    """From the changes of a run to its fingerprint."""

    def fingerprint(student=None, teacher=models[1], cls=DistillationTrainer, prepare=lambda trainer: None, **changes):
        names = ("train_dataset", "eval_dataset", "processing_class", "data_collator", "optimizer_cls_and_kwargs",
                 "teacher_processing_class", "teacher_text_columns")  # fmt: skip
        given = {"train_dataset": dataset, "eval_dataset": dataset, "processing_class": tokenizer}
        given |= {name: changes.pop(name) for name in names if name in changes}
        args = make_args(tmp_path, **{"teacher_cache_dir": str(tmp_path / "store"), **changes})
        student = copy.deepcopy(student or models[0])
        trainer = cls(student, copy.deepcopy(teacher), args, compute_metrics=accuracy, **given)
        prepare(trainer)
        return trainer._run_checkpoints()._share_fingerprint()

    return fingerprint


def differences(before, now):
    return "; ".join(now.differences(before.identity))


def collate_rows(rows):
    return DataCollatorWithPadding(tiny_tokenizer())(rows)


class Mine(DistillationTrainer):
    pass


# What is changed, and the start of the message.
CHANGES = {
    "dropout": ({"student": tiny_model(2, seed=2, hidden_dropout_prob=0.2)}, "config.hidden_dropout_prob: 0.0 there"),
    "collator": ({"data_collator": collate_rows}, "the data collator (name: DataCollatorWithPadding there"),
    "class of the Trainer": ({"cls": Mine}, "the class of the Trainer (DistillationTrainer there, Mine now)"),
    "arguments of the optimizer": ({"optim_args": "momentum=0.9"}, "the optimizer (sgd there, {'name': 'sgd', 'optim"),
    "given optimizer": (
        {"optimizer_cls_and_kwargs": (torch.optim.Adagrad, {"lr": 0.1})}, "{'class': 'Adagrad', 'arguments'",
    ),
    "choice of the best": (BEST, "the choice of the best checkpoint (greater_is_better: None there, True now"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_another_setting_is_another_run(fingerprint, what):
    changes, message = CHANGES[what]
    assert message in differences(fingerprint(), fingerprint(**changes))


def test_the_same_settings_are_the_same_run(fingerprint):
    assert differences(fingerprint(**BEST), fingerprint(**BEST)) == ""
    longer = fingerprint(**BEST, max_steps=9, learning_rate=0.5)
    assert differences(fingerprint(**BEST), longer) == ""
    assert longer.changes(fingerprint(**BEST).settings) == {"max_steps": [-1, 9], "learning_rate": [0.1, 0.5]}


def test_the_best_checkpoint_is_chosen_by_one_rule_on_the_same_rows(fingerprint, dataset, tokenizer):
    before = fingerprint(**BEST)
    for changes, message in (
        ({"greater_is_better": False}, "greater_is_better: True there, False now"),
        ({"metric_for_best_model": "loss"}, "metric: accuracy there, loss now"),
    ):
        assert message in differences(before, fingerprint(**BEST | changes))
    rows = dataset.select(range(8))
    assert "best checkpoint is chosen, 'eval' (32 there, 8 now)" in differences(
        before, fingerprint(**BEST, eval_dataset=rows)
    )
    rows = dataset.map(lambda row: {"labels": (row["labels"] + 1) % 3})
    assert "'eval' (columns labels)" in differences(before, fingerprint(**BEST, eval_dataset=rows))
    assert differences(fingerprint(), fingerprint(eval_dataset=rows)) == ""  # they choose nothing
    assert fingerprint(**BEST | {"eval_steps": 2, "save_steps": 2}).changes(before.settings) == {
        "eval_steps": [1, 2], "save_steps": [1, 2],
    }  # fmt: skip


def test_calibration_on_other_rows_is_another_run_and_a_stored_teacher_the_same(fingerprint, dataset, tokenizer):
    before = fingerprint(calibrate_teacher=True)
    assert differences(before, fingerprint(calibrate_teacher=True, cache_teacher_outputs=True)) == ""
    other = fingerprint(calibrate_teacher=True, eval_dataset=tiny_dataset(tokenizer, 32, seed=8))
    assert "the temperatures of the teacher (" in differences(before, other)


def test_the_side_of_padding_counts_while_the_student_reads_it(fingerprint):
    left = tiny_tokenizer()
    left.padding_side = "left"
    message = "the padding side of the student's tokenizer (right there, left now)"
    assert message in differences(fingerprint(), fingerprint(processing_class=left))


def test_collators_are_known_by_their_settings(tokenizer):
    assert describe_collator(DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)) == describe_collator(
        DataCollatorWithPadding(tokenizer)
    )
    first, second = (describe_collator(MaskingCollator(tokenizer, mlm_probability=p)) for p in (0.15, 0.3))
    assert first != second
    assert first["mask"]["mlm_probability"] == 0.15


class ChangingCollator(DataCollatorWithPadding):
    """Like transformers' masking collator, it makes its generator when it is used."""

    generator: torch.Generator | None = None

    def __call__(self, rows):
        self.generator = torch.Generator()
        return super().__call__(rows)


def test_a_collator_that_was_used_before_is_the_same(fingerprint, tokenizer):
    collator = ChangingCollator(tokenizer)
    collator.generator = None
    before = fingerprint(data_collator=collator)
    collator([{"input_ids": [2, 3]}])
    assert differences(before, fingerprint(data_collator=collator)) == ""


def test_the_name_of_the_label_column_does_not_count(fingerprint, dataset):
    renamed = dataset.rename_column("labels", "label")
    assert differences(fingerprint(), fingerprint(train_dataset=renamed)) == ""
    changed = renamed.map(lambda row: {"label": (row["label"] + 1) % 3})
    assert "the training rows (columns labels)" in differences(fingerprint(), fingerprint(train_dataset=changed))


def test_labels_count_as_the_float32_in_which_they_are_learned(dataset, tmp_path):
    targets = dataset.remove_columns("labels").add_column("labels", [0.1 * i for i in range(len(dataset))])
    single = targets.cast_column("labels", Value("float32"))
    single.to_json(tmp_path / "rows.json")
    loaded = Dataset.from_json(str(tmp_path / "rows.json"), cache_dir=str(tmp_path))
    assert loaded.features["labels"].dtype == "float64"
    hashes = [hash_columns(rows)["labels"] for rows in (targets, single, loaded)]
    assert len(set(hashes)) == 1
    assert hash_columns(targets.map(lambda row: {"labels": row["labels"] + 1e-3}))["labels"] != hashes[0]


# ---- The teacher ----


def test_a_live_teacher_that_changes_after_construction_is_another_one(fingerprint, models):
    changed = copy.deepcopy(models[1])
    with torch.no_grad():
        changed.classifier.bias.add_(1.0)

    def change(trainer):
        trainer.teacher.model.load_state_dict(changed.state_dict())

    assert "the teacher (both are named bert" in differences(fingerprint(), fingerprint(prepare=change))
    assert differences(fingerprint(teacher=changed), fingerprint(prepare=change)) == ""


def other_template(tokenizer):
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.sep_token_id)]
    )


CHANGES_OF_THE_TOKENIZER = {
    "longest": lambda tokenizer: setattr(tokenizer, "model_max_length", 20),
    "side that is cut": lambda tokenizer: setattr(tokenizer, "truncation_side", "left"),
    "template": other_template,
}


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("what", CHANGES_OF_THE_TOKENIZER)
def test_what_the_teachers_own_tokenizer_makes_of_the_texts_is_part_of_the_run(fingerprint, what, is_cached):
    settings = {"teacher": roberta(), "cache_teacher_outputs": is_cached}
    before, changed = letters_tokenizer(40), letters_tokenizer(40)
    CHANGES_OF_THE_TOKENIZER[what](changed)
    first = fingerprint(teacher_processing_class=before, teacher=roberta())
    assert differences(first, fingerprint(teacher_processing_class=letters_tokenizer(40), **settings)) == ""
    message = "the texts as the teacher reads them (another text column, or another tokenizer"
    assert message in differences(first, fingerprint(teacher_processing_class=changed, **settings))


def test_a_teachers_padding_side_counts_unless_its_outputs_are_stored(fingerprint):
    left = letters_tokenizer(40)
    left.padding_side = "left"
    first = fingerprint(teacher_processing_class=letters_tokenizer(40), teacher=roberta())
    live = fingerprint(teacher_processing_class=left, teacher=roberta())
    assert "the padding side of the teacher's tokenizer (['right'] there, ['left'] now)" in differences(first, live)
    function = FunctionTeacher(count_letters, name="letters", labels=LABEL_NAMES)
    both = [
        fingerprint(teacher_processing_class=tokenizer, teacher=[roberta(), function], teacher_text_columns=["text"])
        for tokenizer in (letters_tokenizer(40), left)
    ]
    assert "(['right'] there, ['left'] now)" in differences(*both)
    stored = fingerprint(teacher_processing_class=left, teacher=roberta(), cache_teacher_outputs=True)
    assert differences(first, stored) == ""


@pytest.fixture
def two_texts(tokenizer):
    """Rows with two texts, of which the student reads the first."""
    texts = ["a good film", "bad plot"] * 8
    rows = Dataset.from_dict({"text": texts, "longer": [f"{text} fun" for text in texts], "labels": [0, 1] * 8})
    return rows.map(lambda row: tokenizer(row["text"]), batched=True)


def count_letters(texts):
    return [[float(len(text)), 1.0, 0.0] for text in texts]


@pytest.mark.parametrize("kind", ["function", "tokenizer"])
def test_another_text_column_is_another_run(fingerprint, two_texts, kind):
    if kind == "function":
        settings = {"teacher": FunctionTeacher(count_letters, name="letters", labels=LABEL_NAMES)}
    else:
        settings = {"teacher": roberta(), "teacher_processing_class": letters_tokenizer(40)}
    rows = {"train_dataset": two_texts, "eval_dataset": two_texts}
    first, again, other = (
        fingerprint(**settings, **rows, teacher_text_columns=[column]) for column in ("text", "text", "longer")
    )
    assert differences(first, again) == ""
    assert "the texts as the teacher reads them (another text column" in differences(first, other)
