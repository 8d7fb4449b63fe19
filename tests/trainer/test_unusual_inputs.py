"""Models, labels and tokenizers that are legitimate and unusual train, or are refused by name before they do."""

import copy

import pytest
from invariance import make_args, make_trainer
from problems import make_problem
from tiny import LABEL_NAMES, tiny_dataset, tiny_tokenizer
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    BertForSequenceClassification,
    DataCollatorForTokenClassification,
)

from hf_distill import DistillationTrainer
from hf_distill.data.retokenize import find_text_columns

UNSET = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
LAYERS = ["hidden_mse", "hidden_cosine", "embedding_mse", "pkd", "attention_mse", "minilm_relation"]


def bart():
    config = BartConfig(
        vocab_size=30, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64, pad_token_id=0,
        bos_token_id=2, eos_token_id=3, decoder_start_token_id=3, id2label=dict(enumerate(LABEL_NAMES)),
        label2id={name: i for i, name in enumerate(LABEL_NAMES)},
    )  # fmt: skip
    return BartForSequenceClassification(config)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_an_encoder_and_a_decoder_are_refused_by_name(rows, tokenizer, tmp_path, name):
    with pytest.raises(ValueError, match="teacher, a BartForSequenceClassification, has an encoder and a decoder"):
        make_trainer(bart(), bart(), rows, tokenizer, tmp_path, objectives={name: 1.0}, **UNSET)


def test_a_student_that_hides_its_signature_reads_the_same_columns(models, rows, tokenizer, tmp_path):
    class Hidden(BertForSequenceClassification):
        def forward(self, **inputs):
            return super().forward(**inputs)

    hidden = Hidden(models[0].config)
    hidden.load_state_dict(models[0].state_dict())
    losses = []
    for student in (models[0], hidden):
        trainer = make_trainer(student, models[1], rows, tokenizer, tmp_path)
        trainer.train()
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == losses[1]


def test_rows_without_labels_are_predicted_although_an_objective_needs_labels(models, tokenizer, tmp_path):
    rows = tiny_dataset(tokenizer, 8, seed=3)
    trainer = make_trainer(*models, rows, tokenizer, tmp_path, objectives={"dkd": 1.0, "ce": 1.0}, **UNSET)
    expected = trainer.predict(rows)
    assert "test_loss_dkd" in expected.metrics
    for unlabelled in (rows.remove_columns("labels"), rows.map(lambda row: {"labels": -100})):
        found = trainer.predict(unlabelled)
        assert (found.predictions == expected.predictions).all()
        assert "test_loss" not in found.metrics


def test_a_micro_batch_without_units_trains_with_every_objective_on_logits(tokenizer, tmp_path):
    problem = make_problem("token_classification", 8)
    none = {"labels": lambda row: [-100] * len(row["labels"]), "word_starts": lambda row: [0] * len(row["labels"])}
    rows = problem.rows.select(range(2, 8)).map(
        lambda row, i: {name: make(row) for name, make in none.items()} if i == 2 else row, with_indices=True
    )
    objectives = dict.fromkeys(["ce", "kl", "reverse_kl", "jsd", "logit_mse", "dkd"], 1.0)
    trainer = make_trainer(
        problem.student, problem.teacher, rows, tokenizer, tmp_path, objectives=objectives, **UNSET,
        per_device_train_batch_size=1, learning_rate=1e-4,
    )  # fmt: skip
    trainer.train()
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())


def test_a_unit_without_the_label_that_an_objective_needs_is_named_by_its_row(tokenizer, tmp_path):
    problem = make_problem("token_classification", 8)  # row 1 has no label
    trainer = make_trainer(
        problem.student, problem.teacher, problem.rows, tokenizer, tmp_path, objectives={"dkd": 1.0}, **UNSET
    )
    with pytest.raises(FloatingPointError, match=r"`dkd` needs the label of every unit.* without one in row 1 of"):
        trainer.train()


def test_texts_that_end_with_the_padding_token_are_recognized(tokenizer):
    ending = tiny_tokenizer()
    ending.pad_token = ending.sep_token
    assert find_text_columns(tiny_dataset(ending, 6), ["text", "text_pair"], False, ending) == ["text", "text_pair"]
    assert find_text_columns(tiny_dataset(ending, 6), None, False, ending) == ["text", "text_pair"]


def test_metrics_of_tuples_leave_out_rows_without_a_label(models, rows, tokenizer, tmp_path):
    trainer = DistillationTrainer(
        copy.deepcopy(models[0]), models[1], make_args(tmp_path), train_dataset=rows, eval_dataset=rows,
        processing_class=tokenizer, preprocess_logits_for_metrics=lambda logits, labels: (logits.argmax(-1), logits),
        compute_metrics=lambda p: {"rows": float(len(p.predictions[1])), "labels": float(len(p.label_ids))},
    )  # fmt: skip
    metrics = trainer.evaluate()
    assert metrics["eval_rows"] == metrics["eval_teacher_rows"] == metrics["eval_labels"] == 14  # 2 of 16 have none


def test_the_logits_of_a_teacher_are_kept_only_for_metrics(models, rows, tokenizer, tmp_path):
    trainer = make_trainer(*models, rows, tokenizer, tmp_path)
    trainer.evaluate()
    assert trainer.bound.teacher_predictions._num_batches == 0
    trainer.compute_metrics = lambda prediction: {"n": 1.0}
    assert trainer.evaluate()["eval_teacher_n"] == 1.0


@pytest.mark.parametrize("collator", [None, DataCollatorForTokenClassification])
def test_labels_of_tokens_can_be_in_a_column_label(tokenizer, tmp_path, collator):
    problem, losses = make_problem("token_classification", 8), []
    for name in ("labels", "label"):
        rows = problem.rows.rename_column("labels", name) if name == "label" else problem.rows
        trainer = DistillationTrainer(
            copy.deepcopy(problem.student), problem.teacher, make_args(tmp_path), train_dataset=rows,
            eval_dataset=rows, processing_class=tokenizer, data_collator=collator and collator(tokenizer),
        )  # fmt: skip
        trainer.train()
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == losses[1]
