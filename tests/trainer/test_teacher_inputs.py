"""A teacher gets everything that it reads, and its answer does not depend on padding."""

import copy
import json

import numpy as np
import pytest
import torch
from datasets import concatenate_datasets
from invariance import make_trainer
from tiny import TINY, tiny_dataset, tiny_gpt2, tiny_model, tiny_tokenizer, visible_to_caplog
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from hf_distill import DistillationTrainer, TeacherCache, compare_models, create_student
from hf_distill.classifiers.compiled import compiled_in_place
from hf_distill.data import mask_once
from hf_distill.reporting.comparison.predict import TorchPredictor
from hf_distill.teachers import Teacher

CPU = torch.device("cpu")


def alone(model, row, names=("input_ids", "attention_mask")):
    with torch.no_grad():
        return model.eval()(**{name: torch.tensor([row[name]]) for name in names}).logits[0]


def teacher_logits(trainer):
    batches = trainer.get_eval_dataloader()
    return torch.cat([trainer.teacher(trainer._prepare_inputs(batch)).logits for batch in batches])


def decoder_tokenizer(side="right"):
    tokenizer = tiny_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.padding_side = side
    return tokenizer


@pytest.fixture(autouse=True)
def _warned_about_nothing():
    type(logging.get_logger("transformers")).warning_once.cache_clear()


@pytest.fixture
def decoder_rows():
    return tiny_dataset(decoder_tokenizer(), 24, seed=4)


# ---- The padding token of decoders ----


def trainer_of(teacher, rows, tokenizer, folder, **changes):
    return make_trainer(tiny_gpt2(seed=5), teacher, rows, tokenizer, folder / "out", **changes)


@pytest.mark.parametrize("is_cached", [False, True])
def test_a_decoder_without_a_padding_token_takes_the_tokenizers(tmp_path, decoder_rows, caplog, is_cached):
    teacher = tiny_gpt2(pad_token_id=None)
    expected = torch.stack([alone(teacher, row) for row in decoder_rows])
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.classifiers.padding"):
        trainer = trainer_of(
            teacher, decoder_rows, decoder_tokenizer(), tmp_path, cache_teacher_outputs=is_cached,
            teacher_cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
    assert "It gets the tokenizer's: '[PAD]', id 0" in caplog.text
    assert torch.allclose(teacher_logits(trainer), expected, atol=1e-4)
    assert trainer.distillation_record()["teacher"]["pad_token_id"] == 0


@pytest.mark.parametrize("is_cached", [False, True])
def test_a_decoder_with_another_padding_token_is_refused_by_name(tmp_path, decoder_rows, is_cached):
    teacher = tiny_gpt2(pad_token_id=4)
    teacher.config.name_or_path = "user/a-decoder"
    with pytest.raises(ValueError, match=r"The teacher user/a-decoder, .* id 4, but the tokenizer pads .* id 0"):
        trainer_of(
            teacher, decoder_rows, decoder_tokenizer(), tmp_path, cache_teacher_outputs=is_cached,
            teacher_cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip


def test_the_padding_token_is_checked_when_a_saved_decoder_is_loaded(tmp_path, decoder_rows):
    tiny_gpt2(pad_token_id=4).save_pretrained(tmp_path / "teacher")
    with pytest.raises(ValueError, match="reads its answer at the last token"):
        TeacherCache(tmp_path / "cache", tmp_path / "teacher", decoder_tokenizer())


def test_a_decoder_and_a_tokenizer_without_padding_tokens_are_refused(tmp_path):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    with pytest.raises(ValueError, match="neither its config nor the tokenizer has a padding token"):
        TeacherCache(tmp_path, tiny_gpt2(pad_token_id=None), tokenizer)


def test_compare_models_aligns_and_refuses_padding_tokens_too(decoder_rows):
    models = {"teacher": tiny_gpt2(), "student": tiny_gpt2(seed=5, pad_token_id=4)}
    arguments = {
        "processing_class": decoder_tokenizer(), "text_columns": ("text",), "label_column": "labels",
        "latency_rounds": 0, "num_resamples": 100,
    }  # fmt: skip
    with pytest.raises(ValueError, match="model 'student'"):
        compare_models(models, decoder_rows, **arguments)

    def scores(report):
        return [model["metrics"] for model in report.to_dict()["models"].values()]

    models["student"].config.pad_token_id = None
    with_none = compare_models(models, decoder_rows, **arguments)
    models["student"].config.pad_token_id = 0
    with_zero = compare_models(models, decoder_rows, **arguments)
    assert scores(with_none) == scores(with_zero)


@pytest.mark.parametrize("make", [lambda: tiny_model(2, seed=1), tiny_gpt2])
def test_compared_models_do_not_answer_differently_for_padding_on_the_left(decoder_rows, make):
    model = make()
    predictor = TorchPredictor(model, decoder_tokenizer("left"))
    expected = torch.stack([alone(model, row) for row in decoder_rows])
    rows = [{name: row[name] for name in ("input_ids", "attention_mask")} for row in decoder_rows]
    assert np.allclose(np.stack(predictor.logits_of(rows, batch_size=5)), expected, atol=1e-4)


def test_a_decoder_gets_no_segment_ids_that_its_tokenizer_does_not_return(decoder_rows):
    tokenizer = decoder_tokenizer()
    tokenizer.cls_token = None
    model = tiny_gpt2()
    (row,) = TorchPredictor(model, tokenizer).encode(["a good film"])
    assert set(row) == {"input_ids", "attention_mask"}
    (row,) = TorchPredictor(model, decoder_tokenizer()).encode(["a good film"])
    assert "token_type_ids" in row


def test_the_padding_token_of_an_encoder_does_not_matter(tmp_path, teacher, tokenizer, dataset):
    teacher.config.pad_token_id = 4
    assert TeacherCache(tmp_path, teacher, tokenizer).label(dataset).num_rows == 32


# ---- Padding on the left ----


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("make", [lambda: tiny_model(2, seed=1), tiny_gpt2])
def test_padding_on_the_left_is_warned_about_once(tmp_path, decoder_rows, caplog, make, is_cached):
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.classifiers.padding"):
        with visible_to_caplog("hf_distill.cache.teacher_cache"):
            for _ in range(2):
                trainer_of(
                    make(), decoder_rows, decoder_tokenizer("left"), tmp_path, cache_teacher_outputs=is_cached,
                    teacher_cache_dir=str(tmp_path / "cache"),
                )  # fmt: skip
    assert caplog.text.count("changes the teacher's answers") == 1
    assert caplog.text.count("changes the student's answers") == 1


def padded_rows(side):
    """Return rows that are padded on a side, and a tokenizer that pads batches on the right."""
    tokenizer = decoder_tokenizer(side)
    rows = tiny_dataset(tokenizer, 12, seed=4).map(
        lambda row: tokenizer(row["text"], padding="max_length", max_length=20), batched=True
    )
    tokenizer.padding_side = "right"
    return rows, tokenizer


@pytest.mark.parametrize("is_cached", [False, True])
def test_rows_that_are_padded_on_the_left_are_refused_where_it_changes_answers(tmp_path, is_cached):
    left, tokenizer = padded_rows("left")
    right, _ = padded_rows("right")
    student, teacher = tiny_model(1, seed=2), tiny_model(2, seed=1)
    settings = {"cache_teacher_outputs": is_cached, "teacher_cache_dir": str(tmp_path / "cache")}
    assert left[0]["attention_mask"][0] == 0 != right[0]["attention_mask"][0]
    with pytest.raises(ValueError, match=r"Row 0 begins with padding.*the student's answers.*without `padding`"):
        make_trainer(student, teacher, left, tokenizer, tmp_path, **settings)
    trainer = make_trainer(student, teacher, right, tokenizer, tmp_path, **settings)
    some = concatenate_datasets([right.select([0]), left])
    with pytest.raises(ValueError, match="Row 1 begins with padding"):
        trainer.evaluate(some)


@pytest.mark.parametrize("is_cached", [False, True])
def test_a_student_that_left_padding_does_not_change_needs_such_a_live_teacher(tmp_path, is_cached):
    left, tokenizer = padded_rows("left")
    right, _ = padded_rows("right")
    student, unchanged, changed = tiny_gpt2(seed=5), tiny_gpt2(seed=6), tiny_gpt2(seed=6)
    for model in (student, unchanged):
        model.transformer.wpe.weight.data.zero_()  # no positions, and the head reads the last token
    settings = {"cache_teacher_outputs": is_cached, "teacher_cache_dir": str(tmp_path / "cache")}
    if not is_cached:
        with pytest.raises(ValueError, match=r"Row 0 begins with padding.*the teacher's answers"):
            make_trainer(student, changed, left, tokenizer, tmp_path, **settings)
    # Stored answers are those of texts without padding.
    for teacher in (unchanged, changed) if is_cached else (unchanged,):
        losses = [
            make_trainer(student, teacher, rows, tokenizer, tmp_path, **settings).evaluate()["eval_loss_kl"]
            for rows in (left, right)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_teacher_without_positions_is_not_warned_about(tmp_path, decoder_rows, caplog):
    teacher = tiny_gpt2(seed=1)
    teacher.transformer.wpe.weight.data.zero_()
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.classifiers.padding"):
        trainer_of(teacher, decoder_rows, decoder_tokenizer("left"), tmp_path)
    assert "changes the teacher's answers" not in caplog.text


# ---- Hidden signatures ----


class HiddenSignature(BertForSequenceClassification):
    """Passes all arguments on, so that its own signature names none."""

    def forward(self, **kwargs):
        return super().forward(**kwargs)


class Wrapper(BertForSequenceClassification):
    """Holds another model, so that no class that it inherits from names what it reads."""

    def forward(self, *args, **inputs):
        return self.held[0](*args, **inputs)


def hidden(model, kind):
    hiding = copy.deepcopy(model)
    hiding.held = [copy.deepcopy(model)]
    hiding.__class__ = kind
    return hiding


@pytest.mark.parametrize("kind", [HiddenSignature, Wrapper])
@pytest.mark.parametrize("is_cached", [False, True])
def test_a_teacher_that_hides_its_signature_gets_its_segment_ids(
    tmp_path, student, teacher, dataset, tokenizer, kind, is_cached
):
    trainer = make_trainer(
        student, hidden(teacher, kind), dataset, tokenizer, tmp_path / "out", cache_teacher_outputs=is_cached,
        teacher_cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    expected = torch.stack([alone(teacher, row, tokenizer.model_input_names) for row in dataset])
    assert torch.allclose(teacher_logits(trainer), expected, atol=1e-4)


def test_without_a_tokenizer_the_usual_inputs_are_read(teacher):
    assert {"input_ids", "token_type_ids", "attention_mask"} <= Teacher(hidden(teacher, Wrapper), CPU).columns
    assert "labels" not in Teacher(hidden(teacher, Wrapper), CPU).columns


# ---- Compiled models ----


@pytest.mark.parametrize("is_cached", [False, True])
def test_compiled_teachers_and_students_train_like_the_models_inside(tmp_path, dataset, tokenizer, is_cached):
    student, teacher = tiny_model(1, seed=2), tiny_model(1, seed=1)  # compiling takes a second for each layer
    dataset = dataset.select(range(16))  # one batch: models are compiled again for batches of another length

    def losses(student, teacher):
        trainer = DistillationTrainer(
            student, teacher,
            make_trainer_args(tmp_path, cache_teacher_outputs=is_cached, teacher_cache_dir=str(tmp_path / "cache")),
            train_dataset=dataset, eval_dataset=dataset, processing_class=tokenizer,
        )  # fmt: skip
        trainer.train()
        trainer.save_model()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    expected = losses(copy.deepcopy(student), copy.deepcopy(teacher))
    compiled = [torch.compile(copy.deepcopy(model), backend="eager") for model in (student, teacher)]
    assert losses(*compiled) == pytest.approx(expected, rel=1e-5)
    saved = json.loads((tmp_path / "out" / "config.json").read_text())
    assert saved["architectures"] == ["BertForSequenceClassification"]
    assert type(student).from_pretrained(tmp_path / "out").num_labels == 3


def make_trainer_args(folder, **changes):
    from invariance import make_args

    return make_args(folder / "out", **changes)


def test_a_compiled_model_still_runs_its_compiled_code(dataset, tokenizer):
    teacher, calls = tiny_model(1, seed=1), []

    def backend(graph, inputs):
        calls.append(graph)
        return graph.forward

    inputs = {name: torch.tensor([dataset[0][name]]) for name in tokenizer.model_input_names}
    expected = teacher(**inputs).logits
    model = compiled_in_place(torch.compile(teacher, backend=backend))
    assert model is teacher
    assert torch.allclose(model(**inputs).logits, expected, atol=1e-5)
    assert calls


def test_a_compiled_teacher_has_the_store_of_the_model_inside(tmp_path, teacher, tokenizer):
    folder = TeacherCache(tmp_path, teacher, tokenizer).folder
    assert TeacherCache(tmp_path, torch.compile(copy.deepcopy(teacher), backend="eager"), tokenizer).folder == folder


# ---- Students of a 16-bit teacher ----


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("architecture", [None, "distilbert"])
def test_a_student_has_float32_weights_whatever_the_teachers_dtype(tmp_path, teacher, dtype, architecture):
    student = create_student(teacher.to(dtype), 2, architecture=architecture)
    assert {weight.dtype for weight in student.parameters()} == {torch.float32}
    assert teacher.dtype == dtype
    student.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float32"


# ---- The token that the head reads ----


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("is_cached", [False, True])
def test_the_states_of_a_decoder_are_those_of_the_token_that_its_head_reads(tmp_path, decoder_rows, side, is_cached):
    teacher = tiny_gpt2()
    tokenizer = decoder_tokenizer(side)
    if is_cached:
        labelled = TeacherCache(tmp_path, teacher, tokenizer, outputs="cls_states").label(decoder_rows)
        states = torch.tensor(np.array(labelled["teacher_cls_states"][:], np.float32))
    else:
        teacher.transformer.wpe.weight.data.zero_()  # padding on the left moves the positions
        batch = tokenizer.pad(
            [{name: row[name] for name in tokenizer.model_input_names} for row in decoder_rows], return_tensors="pt"
        )
        states = Teacher(teacher, CPU, requested=["cls_states"])(batch).cls_states
    # The head is linear, so that its answer shows which token it has read.
    expected = torch.stack([alone(teacher, row) for row in decoder_rows])
    assert torch.allclose(teacher.score(states[:, -1]), expected, atol=1e-4)


def test_pkd_moves_a_decoder_towards_its_teacher(tmp_path, decoder_rows):
    trainer = make_trainer(
        tiny_gpt2(seed=5), tiny_gpt2(n_layer=4), decoder_rows, decoder_tokenizer(), tmp_path, num_train_epochs=3,
        objectives={"pkd": {"weight": 1.0, "projection": False}}, temperature=None, soft_label_weight=None,
        hard_label_weight=None, optim="adamw_torch", learning_rate=3e-3,
    )  # fmt: skip
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[0] > 0.01  # the first token gives the same states in every text, at once learned by heart
    assert losses[-1] < losses[0]


# ---- Masked twice ----


@pytest.mark.parametrize("split", ["train_dataset", "eval_dataset"])
def test_rows_that_are_masked_once_are_not_masked_again(tmp_path, tokenizer, dataset, split):
    from transformers import BertConfig

    model = BertForMaskedLM(BertConfig(**TINY, num_hidden_layers=1))
    rows = dataset.select_columns(["input_ids"])
    splits = {"train_dataset": rows, "eval_dataset": rows} | {split: mask_once(rows, tokenizer, 0.5)}
    trainer = DistillationTrainer(
        model, None, make_trainer_args(tmp_path, objectives={"ce": 1.0}, temperature=None, soft_label_weight=None,
        hard_label_weight=None), processing_class=tokenizer,
        data_collator=DataCollatorForLanguageModeling(tokenizer), **splits,
    )  # fmt: skip
    with pytest.raises(ValueError, match="mask their tokens a second time.*MaskingCollator"):
        trainer.train() if split == "train_dataset" else trainer.evaluate()
