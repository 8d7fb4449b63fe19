"""Kinds of teachers: adapters, quantized models, models with a fixed placement, and functions."""

import copy
import math

import pytest
import torch
from invariance import make_args, make_trainer
from tiny import LABEL_NAMES, tiny_model, tiny_tokenizer, visible_to_caplog
from transformers import TextClassificationPipeline, pipeline

from hf_distill import DistillationTrainer
from hf_distill.cache.fingerprint import fingerprint
from hf_distill.teachers import FunctionTeacher, Teacher

CPU = torch.device("cpu")


def batch_of(rows, tokenizer):
    return tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in rows], return_tensors="pt")


def logits_of(trainer, rows):
    return torch.cat([trainer.teacher(batch).logits for batch in trainer.get_eval_dataloader(rows)])


def both_ways(student, teacher, rows, tokenizer, folder):
    """The logits of a teacher in the Trainer, live and cached, and the cache's Trainer."""
    live, cached = (
        make_trainer(student, teacher, rows, tokenizer, folder, cache_teacher_outputs=cached,
                     teacher_cache_dir=str(folder / "cache"))
        for cached in (False, True)
    )  # fmt: skip
    return logits_of(live, rows), logits_of(cached, cached.eval_dataset), cached


# ---- Adapters ----


def with_adapter(model, **changes):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(task_type="SEQ_CLS", **{"r": 2, "target_modules": ["query", "value"], **changes})
    adapted = peft.get_peft_model(copy.deepcopy(model), config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # peft initializes it with zeros, so a new adapter would have no effect
            torch.nn.init.normal_(parameter)
    return adapted.eval()


def test_a_peft_teacher_returns_the_logits_of_its_merged_model(student, teacher, dataset, tokenizer, tmp_path):
    adapted = with_adapter(teacher)
    with torch.no_grad():
        expected = copy.deepcopy(adapted).merge_and_unload()(**batch_of(dataset, tokenizer)).logits
        assert not torch.allclose(teacher(**batch_of(dataset, tokenizer)).logits, expected, atol=0.1)
    live, cached, _ = both_ways(student, adapted, dataset, tokenizer, tmp_path)
    assert torch.allclose(live, expected, atol=1e-4)
    assert torch.allclose(cached, expected, atol=1e-4)


def test_segment_ids_reach_the_base_model_of_an_adapter(teacher):
    assert "token_type_ids" in Teacher(with_adapter(teacher), CPU).columns


def test_an_adapters_weights_and_scale_are_part_of_the_fingerprint(teacher):
    def name_of(model):
        return fingerprint(model, "float32")[0]

    adapted = with_adapter(teacher)
    assert name_of(adapted) == name_of(with_adapter(teacher)) != name_of(teacher)
    assert name_of(with_adapter(teacher, lora_alpha=16)) != name_of(adapted)
    before = name_of(adapted)
    next(p for name, p in adapted.named_parameters() if "lora_A" in name).data.add_(1e-3)
    assert name_of(adapted) != before


def test_a_peft_student_learns_from_a_peft_teacher(student, teacher, dataset, tokenizer, tmp_path):
    trainer = DistillationTrainer(
        with_adapter(student), with_adapter(teacher), make_args(tmp_path, optim="adamw_torch"), train_dataset=dataset,
        processing_class=tokenizer,
    )  # fmt: skip
    before = copy.deepcopy(trainer.teacher.model.state_dict())
    trainer.train()
    assert all(torch.equal(before[name], value) for name, value in trainer.teacher.model.state_dict().items())


# ---- Quantized models and fixed placement ----


def quantize(model):
    if not torch.backends.quantized.supported_engines or "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this CPU has no int8 kernels")
    with pytest.warns(DeprecationWarning, match="torch.ao.quantization"):
        return torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {torch.nn.Linear}, torch.qint8)


def test_a_dynamically_quantized_teacher_works_live_and_cached(student, teacher, dataset, tokenizer, tmp_path):
    quantized = quantize(teacher)
    with torch.no_grad():
        inputs = [batch_of([row], tokenizer) for row in dataset]
        expected = torch.cat([quantized(**row).logits for row in inputs])
        assert not torch.allclose(expected, torch.cat([teacher(**row).logits for row in inputs]), atol=1e-3)
    live, cached, _ = both_ways(student, quantized, dataset, tokenizer, tmp_path)
    # The scale of the activations depends on the batch, including its padding.
    assert (live - expected).abs().max() < 0.2 * expected.std()
    assert (cached - expected).abs().max() < 0.2 * expected.std()


def test_the_weights_of_a_quantized_teacher_are_part_of_the_fingerprint(teacher):
    other = copy.deepcopy(teacher)
    other.classifier.weight.data.neg_()
    names = [fingerprint(quantize(model), "float32")[0] for model in (teacher, teacher, other)]
    assert names[0] == names[1] != names[2]
    assert fingerprint(teacher, "float32")[0] not in names


class ImmovableModel(type(tiny_model())):
    """Like a model that `device_map` placed or bitsandbytes quantized: moving it is an error."""

    def to(self, *args, **kwargs):
        raise AssertionError("it was moved")

    def _apply(self, fn, recurse=True):
        raise AssertionError("it was moved")


@pytest.mark.parametrize("mark", ["hf_device_map", "hf_quantizer"])
def test_a_model_with_a_fixed_placement_is_not_moved(student, teacher, dataset, tokenizer, tmp_path, mark):
    fixed = copy.deepcopy(teacher)
    setattr(fixed, mark, {"bert": "cpu", "classifier": "disk"})
    fixed.__class__ = ImmovableModel
    assert Teacher(fixed, torch.device("meta"))._model_device == CPU  # the inputs are moved to the model
    fixed.__class__ = type(teacher)
    expected, _, _ = both_ways(student, teacher, dataset, tokenizer, tmp_path)
    fixed.__class__ = ImmovableModel
    trainer = DistillationTrainer(
        student, fixed, make_args(tmp_path), train_dataset=dataset, processing_class=tokenizer
    )
    assert torch.allclose(logits_of(trainer, dataset), expected)


def test_a_teacher_spread_over_devices_by_accelerate_works(student, teacher, dataset, tokenizer, tmp_path):
    from accelerate import dispatch_model

    spread = dispatch_model(
        copy.deepcopy(teacher), {"bert": "cpu", "dropout": "cpu", "classifier": "disk"}, main_device="cpu",
        offload_dir=str(tmp_path / "offload"),
    )  # fmt: skip
    assert spread.classifier.weight.is_meta
    expected = logits_of(make_trainer(student, teacher, dataset, tokenizer, tmp_path), dataset)
    trainer = DistillationTrainer(
        student, spread, make_args(tmp_path), train_dataset=dataset, processing_class=tokenizer
    )
    assert torch.allclose(logits_of(trainer, dataset), expected)
    args = make_args(tmp_path, cache_teacher_outputs=True, teacher_cache_dir=str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="not in memory"):
        DistillationTrainer(student, spread, args, train_dataset=dataset, processing_class=tokenizer)


# ---- Functions ----


class Letters:
    """A teacher that counts letters, and records the texts that it gets."""

    def __init__(self):
        self.seen = []

    def __call__(self, texts):
        self.seen += texts
        return [[float(str(text).count(letter)) for letter in "aot"] for text in texts]


@pytest.fixture
def texts(dataset, tokenizer):
    return dataset.select_columns(["text", "labels"]).map(lambda row: tokenizer(row["text"]), batched=True)


def test_a_function_is_called_once_for_each_distinct_text(student, texts, tokenizer, tmp_path):
    function = Letters()
    trainer = DistillationTrainer(
        student, function, make_args(tmp_path, num_train_epochs=2), train_dataset=texts.select([*range(20), 3, 3]),
        eval_dataset=texts.select(range(15, 32)), processing_class=tokenizer,
    )  # fmt: skip
    assert sorted(function.seen) == sorted(set(texts["text"]))
    assert torch.equal(logits_of(trainer, texts), torch.tensor(Letters()(texts["text"])))
    assert len(function.seen) == len(set(texts["text"]))
    trainer.train()
    assert trainer.distillation_record()["teacher"]["model_type"] == "function"


def test_a_function_of_pairs_gets_pairs(student, dataset, tokenizer, tmp_path):
    function = Letters()
    DistillationTrainer(student, function, make_args(tmp_path), train_dataset=dataset, processing_class=tokenizer)
    assert set(function.seen) == set(zip(dataset["text"], dataset["text_pair"], strict=True))


def test_the_label_names_of_a_function_are_aligned(student, texts, tokenizer, tmp_path):
    teacher = FunctionTeacher(Letters(), labels=["positive", "negative", "neutral"], batch_size=5)
    trainer = DistillationTrainer(
        student, teacher, make_args(tmp_path), train_dataset=texts, eval_dataset=texts, processing_class=tokenizer
    )
    expected = torch.tensor(Letters()(texts["text"]))[:, [1, 2, 0]]
    assert [student.config.id2label[i] for i in range(3)] == LABEL_NAMES
    assert torch.equal(logits_of(trainer, trainer.eval_dataset), expected)


def test_later_runs_use_the_stored_outputs_of_a_named_function(student, texts, tokenizer, tmp_path):
    functions = [Letters(), Letters(), Letters()]
    for function, name in zip(functions, ("letters-1", "letters-1", "letters-2"), strict=True):
        args = make_args(tmp_path, cache_teacher_outputs=True, teacher_cache_dir=str(tmp_path / "cache"))
        DistillationTrainer(
            student, FunctionTeacher(function, name=name), args, train_dataset=texts, processing_class=tokenizer
        )
    distinct = len(set(texts["text"]))
    assert [len(function.seen) for function in functions] == [distinct, 0, distinct]


def test_a_function_and_a_model_form_an_ensemble(student, teacher, texts, tokenizer, tmp_path):
    trainer = DistillationTrainer(
        student, [teacher, Letters()], make_args(tmp_path), train_dataset=texts, eval_dataset=texts,
        processing_class=tokenizer,
    )  # fmt: skip
    model_logits = logits_of(make_trainer(student, teacher, texts, tokenizer, tmp_path), texts)
    parts = [model_logits.softmax(-1), torch.tensor(Letters()(texts["text"])).softmax(-1)]
    assert torch.allclose(logits_of(trainer, trainer.eval_dataset).softmax(-1), sum(parts) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda texts: [[0.0, 1.0]] * len(texts), ValueError, r"shape \(32, 2\) for 32 texts; expected \(32, 3\)"),
        (lambda texts: [[0.0, 1.0, float("nan")]] * len(texts), FloatingPointError, "NaN, .inf or no finite number"),
        (FunctionTeacher(Letters(), labels=["a", "b"]), ValueError, "2 classes cannot be aligned with 3"),
        (lambda texts: [[0.2, 0.7, 0.1]] * len(texts), ValueError, r"returned probabilities.*Return `log\(p\)`"),
        (lambda texts: [[0.33, 0.33, 0.33]] * len(texts), ValueError, "returned probabilities"),
        (lambda texts: [[0.0, 1.0, 0.0]] * len(texts), ValueError, "returned probabilities"),
        (lambda texts: torch.tensor([[20.0, 70.0, 10.0]] * len(texts)), ValueError, "returned percentages"),
        (lambda texts: [[{"label": "a", "score": 0.9}]] * len(texts), TypeError, "cannot be turned into an array"),
        (lambda texts: None, TypeError, "returned NoneType for 32 texts"),
    ],
)  # fmt: skip
def test_invalid_outputs_of_a_function_are_rejected(student, texts, tokenizer, tmp_path, function, error, message):
    with pytest.raises(error, match=message):
        DistillationTrainer(student, function, make_args(tmp_path), train_dataset=texts, processing_class=tokenizer)


def test_a_call_that_looks_like_probabilities_by_chance_is_accepted(student, texts, tokenizer, tmp_path):
    function = FunctionTeacher(
        lambda texts: [[3.0, 1.0, -1.0] if len(texts) == 5 else [0.0, 1.0, 0.0]] * len(texts), batch_size=5
    )
    distinct = texts.select(range(11))
    assert len(set(distinct["text"])) == 11
    DistillationTrainer(student, function, make_args(tmp_path), train_dataset=distinct, processing_class=tokenizer)


def test_probabilities_of_several_labels_are_refused_with_the_log_odds_as_remedy(texts, tokenizer, tmp_path):
    student = tiny_model(2, seed=2, problem_type="multi_label_classification")
    rows = texts.remove_columns("labels")
    with pytest.raises(ValueError, match=r"returned probabilities.*log\(p\) - log\(1 - p\)"):
        DistillationTrainer(
            student, lambda texts: [[0.9, 0.8, 0.1]] * len(texts), make_args(tmp_path), train_dataset=rows,
            processing_class=tokenizer,
        )  # fmt: skip


@pytest.mark.parametrize("term", ["kl", "jsd"])
@pytest.mark.parametrize("is_cached", [False, True])
def test_a_class_that_only_the_teacher_forbids_does_not_end_a_run(
    student, texts, tokenizer, tmp_path, term, is_cached
):
    function = FunctionTeacher(lambda texts: [[math.log(3.0), 0.0, -math.inf]] * len(texts), name="forbids")
    unset = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
    args = make_args(
        tmp_path / "out", objectives={term: {"temperature": 1.0}}, cache_teacher_outputs=is_cached,
        teacher_cache_dir=str(tmp_path / "cache"), **unset,
    )  # fmt: skip
    trainer = DistillationTrainer(
        student, function, args, train_dataset=texts, eval_dataset=texts, processing_class=tokenizer
    )
    before = trainer.evaluate()[f"eval_loss_{term}"]
    if term == "kl":
        log_probs = torch.tensor(trainer.predict(texts).predictions).log_softmax(-1)
        expected = 0.75 * (math.log(0.75) - log_probs[:, 0]) + 0.25 * (math.log(0.25) - log_probs[:, 1])
        assert before == pytest.approx(expected.mean().item(), rel=1e-4)
    trainer.train()
    assert trainer.evaluate()[f"eval_loss_{term}"] < before


# ---- Pipelines ----


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("is_pair", [False, True])
def test_a_pipeline_teaches_with_its_model_and_tokenizer(
    student, teacher, dataset, tokenizer, tmp_path, is_cached, is_pair
):
    rows = dataset if is_pair else dataset.remove_columns(["text_pair", "input_ids", "token_type_ids"])
    if not is_pair:
        rows = rows.map(lambda row: tokenizer(row["text"]), batched=True)
    pipe = pipeline("text-classification", model=copy.deepcopy(teacher), tokenizer=tiny_tokenizer(), device="cpu")
    args = make_args(tmp_path, cache_teacher_outputs=is_cached, teacher_cache_dir=str(tmp_path / "cache"))
    trainer = DistillationTrainer(
        student, pipe, args, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer
    )
    expected = logits_of(make_trainer(student, teacher, rows, tokenizer, tmp_path), rows)
    assert torch.allclose(logits_of(trainer, trainer.eval_dataset), expected, atol=1e-5)
    if not is_pair:
        best = pipe(rows["text"][:])
        assert [answer["label"] for answer in best] == [LABEL_NAMES[i] for i in expected.argmax(-1)]
    trainer.train()


def test_a_pipeline_and_a_model_form_an_ensemble(student, teacher, texts, tokenizer, tmp_path):
    pipe = pipeline("text-classification", model=copy.deepcopy(teacher), tokenizer=tiny_tokenizer(), device="cpu")
    trainer = DistillationTrainer(
        student, [pipe, copy.deepcopy(teacher)], make_args(tmp_path), train_dataset=texts, eval_dataset=texts,
        processing_class=tokenizer,
    )  # fmt: skip
    expected = logits_of(make_trainer(student, teacher, texts, tokenizer, tmp_path), texts).softmax(-1)
    assert torch.allclose(logits_of(trainer, trainer.eval_dataset).softmax(-1), expected, atol=1e-5)


class LoudPipeline(TextClassificationPipeline):
    """Changes the answers of its model."""


def test_pipelines_whose_answers_are_not_their_models_are_refused(student, teacher, texts, tokenizer, tmp_path):
    zero_shot = pipeline("zero-shot-classification", model=teacher, tokenizer=tokenizer, device="cpu")
    for pipe in (zero_shot, LoudPipeline(model=teacher, tokenizer=tokenizer, device="cpu")):
        with pytest.raises(TypeError, match=f"A {type(pipe).__name__} cannot be a teacher.*logarithms of its scores"):
            DistillationTrainer(student, pipe, make_args(tmp_path), train_dataset=texts, processing_class=tokenizer)


def test_invalid_settings_of_a_function_are_rejected(student, texts, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="`name` can only contain letters"):
        FunctionTeacher(Letters(), name="../elsewhere")
    with pytest.raises(ValueError, match="needs a name to find"):
        DistillationTrainer(
            student, Letters(), make_args(tmp_path, cache_teacher_outputs=True), train_dataset=texts,
            processing_class=tokenizer,
        )  # fmt: skip


# ---- Worse than the student ----


@pytest.mark.parametrize("is_worse", [True, False])
def test_a_teacher_worse_than_the_student_is_reported_once(
    student, teacher, dataset, tokenizer, tmp_path, caplog, is_worse
):
    from datasets import concatenate_datasets

    better = student if is_worse else teacher
    with torch.no_grad():
        answers = better(**batch_of(dataset, tokenizer)).logits.argmax(-1).tolist()
    rows = dataset.remove_columns("labels").add_column("labels", answers)
    trainer = make_trainer(student, teacher, concatenate_datasets([rows] * 4), tokenizer, tmp_path)
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.training.guards"):
        trainer.evaluate()
        trainer.evaluate()
    assert caplog.text.count("THE TEACHER IS WORSE THAN THE STUDENT") == int(is_worse)
    assert not is_worse or "the student 100.0%" in caplog.text
