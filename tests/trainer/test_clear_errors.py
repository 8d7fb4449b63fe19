"""Models that cannot be used are named with what is wrong with them, before training starts where that is known."""

import copy
import json
import shutil

import pytest
import torch
from datasets import Dataset
from invariance import make_args, make_trainer
from tiny import TINY, tiny_model
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForNextSentencePrediction,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from hf_distill import DistillationTrainer, TeacherCache, create_student, export_model
from hf_distill.classifiers.loading import load_pretrained
from hf_distill.classifiers.token_ids import TokenLimits
from hf_distill.teachers import load_teacher

# ---- Names of arguments ----


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("teacher", "Pass `teacher_model`."),
        ("student", "Pass `model`."),
        ("tokenizer", "Pass `processing_class`."),
        ("teacher_tokenizer", "Pass `teacher_processing_class`."),
        ("temperature", r"Pass `args=DistillationTrainingArguments\(output_dir=..., temperature=...\)`."),
        ("learning_rate", r"Pass `args=DistillationTrainingArguments\(output_dir=..., learning_rate=...\)`."),
        ("output_dir", r"Pass `args=DistillationTrainingArguments\(output_dir=...\)`."),
        ("alpha", r".*Arguments\(output_dir=..., hard_label_weight=..., soft_label_weight=...\)`."),
    ],
)
def test_an_argument_of_another_library_is_answered_with_the_right_name(name, remedy):
    with pytest.raises(TypeError, match=f"`DistillationTrainer` has no argument `{name}`. {remedy}"):
        DistillationTrainer(**{name: 2.0})


# ---- Outputs and heads ----


class ReturnsTuple(BertForSequenceClassification):
    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        outputs = super().forward(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return (outputs.logits,)


class ReturnsTensor(ReturnsTuple):
    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        return super().forward(input_ids, attention_mask, token_type_ids)[0]


class ReturnsDict(ReturnsTuple):
    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        return {"logits": super().forward(input_ids, attention_mask, token_type_ids)[0]}


class ReturnsOtherDict(ReturnsTuple):
    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        return {"scores": super().forward(input_ids, attention_mask, token_type_ids)[0]}


def as_kind(model, kind):
    model = copy.deepcopy(model)
    model.__class__ = kind
    return model


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (ReturnsTuple, "ReturnsTuple returned a tuple, but an output with `logits` is needed.*return_dict"),
        (ReturnsTensor, "ReturnsTensor returned a Tensor"),
        (ReturnsOtherDict, "ReturnsOtherDict returned scores, but no `logits`"),
    ],
)
def test_outputs_without_logits_are_named(student, teacher, dataset, tokenizer, tmp_path, role, kind, message):
    models = {"student": student, "teacher": teacher}
    models[role] = as_kind(models[role], kind)
    trainer = make_trainer(models["student"], models["teacher"], dataset, tokenizer, tmp_path, max_steps=1)
    with pytest.raises(TypeError, match=message):
        trainer.train()


def test_a_dict_with_logits_is_as_good_as_an_output_of_transformers(student, teacher, dataset, tokenizer, tmp_path):
    models = [(student, teacher), tuple(as_kind(model, ReturnsDict) for model in (student, teacher))]
    losses = [make_trainer(*pair, dataset, tokenizer, tmp_path).evaluate()["eval_loss"] for pair in models]
    assert losses[0] == pytest.approx(losses[1])


def test_the_labels_of_a_student_that_does_not_name_them_are_learned(student, teacher, dataset, tokenizer, tmp_path):
    # transformers only keeps the labels that `forward` names.
    trainer = make_trainer(as_kind(student, ReturnsDict), teacher, dataset, tokenizer, tmp_path)
    expected = make_trainer(student, teacher, dataset, tokenizer, tmp_path).evaluate()["eval_loss_ce"]
    assert trainer.evaluate()["eval_loss_ce"] == pytest.approx(expected)
    assert expected > 0.1


@pytest.mark.parametrize("kind", [BertModel, BertForQuestionAnswering, BertForNextSentencePrediction])
@pytest.mark.parametrize("role", ["student", "teacher", "cache"])
def test_models_that_do_not_classify_are_refused(student, teacher, dataset, tokenizer, tmp_path, kind, role):
    models = {"student": student, "teacher": teacher, "cache": None} | {role: kind(BertConfig(**TINY))}

    def make():
        if role == "cache":
            return TeacherCache(tmp_path, models["cache"], tokenizer)
        return make_trainer(models["student"], models["teacher"], dataset, tokenizer, tmp_path)

    with pytest.raises(ValueError, match=f"A {kind.__name__} does not classify texts or tokens"):
        make()


# ---- Token ids and lengths ----


def rows_with(dataset, row, ids):
    rows = list(dataset.select_columns(["input_ids", "labels"]))
    rows[row] = {**rows[row], "input_ids": ids}
    return Dataset.from_list(rows)


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize(
    ("ids", "config", "message"),
    [
        ([2, 5, 99, 3], {}, r"Row 7 has the token id 99 in `input_ids`, but the {role}, a Bert.* ids 0 to {last}\."),
        ([2] * 70, {}, r"Row 7 has 70 tokens in `input_ids`, but the {role}, a Bert.* only has 64 positions"),
    ],
)
def test_ids_and_lengths_out_of_range_name_the_model_and_the_row(
    dataset, tokenizer, tmp_path, is_cached, role, ids, config, message
):
    roomy = {"vocab_size": 200, "max_position_embeddings": 100}
    student = tiny_model(2, seed=2, **(roomy if role == "teacher" else {}))
    teacher = tiny_model(2, seed=1, **(roomy if role == "student" else {}))
    rows = rows_with(dataset, 7, ids)
    with pytest.raises(ValueError, match=message.format(role=role, last=TINY["vocab_size"] - 1)):
        make_trainer(
            student, teacher, rows, tokenizer, tmp_path / "out", cache_teacher_outputs=is_cached,
            teacher_cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip


def test_roberta_takes_fewer_tokens_than_it_has_positions(tokenizer):
    model = RobertaForSequenceClassification(RobertaConfig(**TINY, num_hidden_layers=1, pad_token_id=1)).eval()
    ids = torch.full((1, 62), 7)
    assert model(input_ids=ids).logits.shape == (1, 2)
    TokenLimits.of(model, "student").check(Dataset.from_dict({"input_ids": ids.tolist()}))
    with pytest.raises(ValueError, match="only has 62 positions"):
        TokenLimits.of(model, "student").check(Dataset.from_dict({"input_ids": [[7] * 63]}))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, 63), 7))


def test_a_negative_id_and_rows_after_the_first_chunk_are_found(teacher):
    rows = Dataset.from_dict({"input_ids": [[2, 3]] * 10_005 + [[2, -1, 3]]})
    with pytest.raises(ValueError, match="Row 10005 has the token id -1"):
        TokenLimits.of(teacher, "teacher").check(rows)
    TokenLimits.of(teacher, "teacher").check(rows.select(range(10_005)))
    TokenLimits.of(teacher, "teacher").check(Dataset.from_dict({"input_ids": [[], [2]]}))


# ---- Weights and configs ----

WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 123\n"


def change_config(**changes):
    def change(folder):
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))

    return change


def replace_by_a_pickle_pointer(folder):
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_text(POINTER)


FAULTS = {
    "cut off": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-99]), OSError, "damaged or cut off"),
    "empty": (lambda f: (f / WEIGHTS).write_bytes(b""), OSError, r"model.safetensors with 0 bytes"),
    "a web page": (lambda f: (f / WEIGHTS).write_text("<html>404</html>"), OSError, "damaged or cut off"),
    "pointer": (lambda f: (f / WEIGHTS).write_text(POINTER), OSError, "pointer of Git LFS.*git lfs pull"),
    "pickle pointer": (replace_by_a_pickle_pointer, OSError, "pytorch_model.bin is a pointer of Git LFS"),
    "width": (change_config(hidden_size=32), ValueError, "config of .* does not match its weights.*another shape"),
    "words": (change_config(vocab_size=50), ValueError, r"word_embeddings.weight is .*, the config says \(50, 16\)"),
    "fewer layers": (change_config(num_hidden_layers=2), ValueError, "leaves out bert.encoder.layer.2, bert.encoder"),
    "more layers": (change_config(num_hidden_layers=5), ValueError, "the checkpoint lacks bert.encoder.layer.4"),
    "another kind": (
        change_config(model_type="roberta", architectures=["RobertaForSequenceClassification"]), ValueError,
        "for a RobertaForSequenceClassification.*the checkpoint lacks roberta.",
    ),
    "fewer classes": (
        change_config(id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1}), ValueError, "classifier.bias is",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    tiny_model(4, seed=1).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("fault", FAULTS)
def test_weights_and_configs_that_do_not_fit_are_named(saved, tmp_path, tokenizer, fault):
    damage, error, message = FAULTS[fault]
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    damage(folder)
    for load in (
        lambda: load_teacher(folder),
        lambda: TeacherCache(tmp_path / "cache", folder, tokenizer),
        lambda: create_student(folder, 1),
        lambda: export_model(folder, tmp_path / "onnx", processing_class=tokenizer),
    ):
        with pytest.raises(error, match=message):
            load()


def test_a_new_head_may_have_another_shape_and_the_body_may_not(saved, tmp_path):
    model, missing = load_pretrained(AutoModelForSequenceClassification, saved, {"num_labels": 7}, with_new_head=True)
    assert model.num_labels == 7
    assert missing == []
    shutil.copytree(saved, tmp_path / "model")
    change_config(hidden_size=32)(tmp_path / "model")
    with pytest.raises(ValueError, match="does not match its weights"):
        load_pretrained(AutoModelForSequenceClassification, tmp_path / "model", {"num_labels": 7}, with_new_head=True)


def test_a_pretrained_body_without_a_head_or_a_pooler_is_loaded(tmp_path):
    BertModel(BertConfig(**TINY, num_hidden_layers=2), add_pooling_layer=False).save_pretrained(tmp_path)
    _, missing = load_pretrained(AutoModelForSequenceClassification, tmp_path, {"num_labels": 3}, with_new_head=True)
    assert [name for name in missing if "pooler" not in name] == ["classifier.bias", "classifier.weight"]


# ---- Trackers ----


@pytest.mark.parametrize(
    ("name", "message"),
    [("wandb", "`report_to` is 'wandb', which is not installed"), ("wanbd", "'wanbd', which is no tracker")],
)
def test_a_tracker_that_is_missing_is_named(student, teacher, dataset, tokenizer, tmp_path, name, message):
    args = make_args(tmp_path, report_to=["none", name] if name == "wandb" else name)
    with pytest.raises(ValueError, match=message):
        DistillationTrainer(student, teacher, args, train_dataset=dataset, processing_class=tokenizer)
