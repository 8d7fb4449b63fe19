"""A teacher with another tokenizer reads the same texts through its own token ids."""

import copy
import random

import pytest
import torch
from datasets import Dataset
from invariance import make_args
from letters import NAMES, letters_tokenizer, roberta
from tiny import TINY, WORDS, copy_model, tiny_dataset, tiny_model, tiny_tokenizer
from transformers import (
    BertConfig,
    BertForTokenClassification,
    RobertaForTokenClassification,
)

from hf_distill import DistillationTrainer, TeacherEnsemble
from hf_distill.data import tokenize_words


def distill(student, teacher, dataset, tokenizer, output_dir, teacher_tokenizer=None, text_columns=None, **changes):
    return DistillationTrainer(
        copy_model(student), teacher, make_args(output_dir, **changes), train_dataset=dataset, eval_dataset=dataset,
        processing_class=tokenizer, teacher_processing_class=teacher_tokenizer, teacher_text_columns=text_columns,
    )  # fmt: skip


def logits_of(trainer, rows):
    return torch.cat([trainer.teacher(batch).logits for batch in trainer.get_eval_dataloader(rows)])


def by_hand(teacher, tokenizer, rows, *columns):
    """Run the teacher on one row at a time, so without padding."""
    inputs = [tokenizer(*(row[name] for name in columns), truncation=True, return_tensors="pt") for row in rows]
    with torch.no_grad():
        return torch.cat([teacher(input_ids=row["input_ids"]).logits for row in inputs])


@pytest.fixture
def single(dataset, tokenizer):
    rows = dataset.select_columns(["text", "labels"])
    return rows.map(lambda row: tokenizer(row["text"]), batched=True)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("columns", [("text",), ("text", "text_pair")])
def test_a_roberta_teaches_a_bert_what_it_says_of_its_own_tokens(
    student, dataset, single, tokenizer, tmp_path, cached, columns
):
    teacher, rows = roberta(), single if columns == ("text",) else dataset
    trainer = distill(
        student, teacher, rows, tokenizer, tmp_path, letters_tokenizer(), cache_teacher_outputs=cached,
        teacher_cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    expected = by_hand(teacher, letters_tokenizer(), rows, *columns)
    assert torch.allclose(logits_of(trainer, trainer.eval_dataset), expected, atol=1e-4)
    assert torch.isfinite(torch.tensor(trainer.train().training_loss))
    unseen = tiny_dataset(tokenizer, 9, seed=123)
    if columns == ("text",):
        unseen = unseen.remove_columns("text_pair").map(lambda row: tokenizer(row["text"]), batched=True)
    assert torch.allclose(
        logits_of(trainer, unseen), by_hand(teacher, letters_tokenizer(), unseen, *columns), atol=1e-4
    )


def test_live_and_cached_train_alike_and_the_cache_is_found_again(student, dataset, tokenizer, tmp_path):
    teacher = roberta()
    live, cached, again = (
        distill(student, teacher, dataset, tokenizer, tmp_path, letters_tokenizer(), num_train_epochs=2,
               per_device_train_batch_size=8, cache_teacher_outputs=cached, teacher_cache_dir=str(tmp_path / "cache"))
        for cached in (False, True, True)
    )  # fmt: skip
    assert (cached.teaching.caches[0].num_computed, again.teaching.caches[0].num_computed) == (32, 0)
    for trainer in (live, cached):
        trainer.train()
    for a, b in zip(live.state.log_history, cached.state.log_history, strict=True):
        assert a.get("loss", 0.0) == pytest.approx(b.get("loss", 0.0), rel=1e-5)


def test_a_bert_teacher_of_pairs_gets_its_segment_ids(student, teacher, dataset, tokenizer, tmp_path):
    same = distill(student, teacher, dataset, tokenizer, tmp_path)
    retokenized = distill(student, teacher, dataset, tokenizer, tmp_path, copy.deepcopy(tokenizer))
    assert torch.allclose(logits_of(retokenized, retokenized.eval_dataset), logits_of(same, dataset), atol=1e-5)


def test_each_teacher_of_an_ensemble_has_its_own_tokens(student, teacher, dataset, tokenizer, tmp_path):
    models, tokenizers = [roberta(), teacher, roberta(seed=8)], [letters_tokenizer(), None, letters_tokenizer(20)]
    trainer = distill(
        student, TeacherEnsemble(models, mean_of="logits", processing_classes=tokenizers), dataset, tokenizer, tmp_path
    )
    cut = [tokenizers[2](row["text"], row["text_pair"], truncation=True, return_tensors="pt") for row in dataset]
    with torch.no_grad():
        parts = [
            by_hand(models[0], tokenizers[0], dataset, "text", "text_pair"),
            logits_of(distill(student, teacher, dataset, tokenizer, tmp_path), dataset),
            torch.cat([models[2](input_ids=row["input_ids"]).logits for row in cut]),
        ]
    assert torch.allclose(logits_of(trainer, trainer.eval_dataset), sum(parts) / 3, atol=1e-4)


def test_the_teachers_token_ids_never_reach_the_student(student, dataset, tokenizer, tmp_path):
    trainer = distill(student, roberta(), dataset, tokenizer, tmp_path, letters_tokenizer())
    trainer._set_signature_columns_if_needed()
    batch = next(iter(trainer.get_train_dataloader()))
    assert {"teacher_input_ids", "teacher_attention_mask"} <= batch.keys()
    assert not any(name.startswith("teacher_") for name in trainer._student_columns)
    assert batch["teacher_input_ids"].shape[1] > batch["input_ids"].shape[1]
    assert (batch["teacher_input_ids"] == 1).equal(batch["teacher_attention_mask"] == 0)


def test_the_baseline_needs_no_texts(student, dataset, tokenizer, tmp_path):
    trainer = distill(student, roberta(), dataset, tokenizer, tmp_path, letters_tokenizer(), max_steps=2)
    trainer.train()
    baseline = trainer.train_baseline(copy_model(student))
    assert baseline.state.global_step == 2


# ---- Which texts ----


def test_text_columns_that_cannot_be_told_are_listed(student, dataset, tokenizer, tmp_path):
    rows = dataset.add_column("source", ["web"] * 32)
    with pytest.raises(ValueError, match=r"\['text', 'text_pair', 'source'\].*`teacher_text_columns`"):
        distill(student, roberta(), rows, tokenizer, tmp_path, letters_tokenizer())
    trainer = distill(
        student, roberta(), rows, tokenizer, tmp_path, letters_tokenizer(), text_columns=("text", "text_pair")
    )
    expected = by_hand(roberta(), letters_tokenizer(), dataset, "text", "text_pair")
    assert torch.allclose(logits_of(trainer, trainer.eval_dataset), expected, atol=1e-4)


def test_rows_without_their_text_are_refused(student, dataset, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="columns of text are none"):
        distill(
            student, roberta(), dataset.remove_columns(["text", "text_pair"]), tokenizer, tmp_path, letters_tokenizer()
        )
    with pytest.raises(ValueError, match=r"names \['body'\], and the columns of text are \['text'"):
        distill(student, roberta(), dataset, tokenizer, tmp_path, letters_tokenizer(), text_columns=["body"])


def test_string_columns_that_are_not_the_students_texts_are_not_taken_for_them(student, single, tokenizer, tmp_path):
    rows = single.add_column("id", [f"row {i}" for i in range(32)])
    with pytest.raises(ValueError, match=r"\['text', 'id'\] are not what the student's token ids were made of"):
        distill(student, roberta(), rows, tokenizer, tmp_path, letters_tokenizer())


def test_rows_that_were_cut_or_padded_are_recognised(student, dataset, tokenizer, tmp_path):
    rows = dataset.map(
        lambda row: tokenizer(row["text"], row["text_pair"], truncation=True, max_length=12, padding="max_length"),
        batched=True,
    )
    distill(student, roberta(), rows, tokenizer, tmp_path, letters_tokenizer())


def test_a_tokenizer_that_does_not_say_how_long_a_text_may_be_is_refused(student, dataset, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="Set its `model_max_length`"):
        distill(student, roberta(), dataset, tokenizer, tmp_path, letters_tokenizer(int(1e30)))


# ---- Words ----


def sentences(num_rows=12, max_length=64):
    draw = random.Random(0)
    # For BERT's tokenizer a hyphen makes two or three tokens of a word.
    words = [
        ["-".join(draw.choices(WORDS, k=draw.choice((1, 1, 2)))) for _ in range(draw.randint(2, 6))]
        for _ in range(num_rows)
    ]
    tags = [None if i == 3 else [draw.randrange(3) for _ in row] for i, row in enumerate(words)]
    rows = Dataset.from_dict({"tokens": words, "tags": tags})
    return tokenize_words(rows, tiny_tokenizer(), labels_column="tags", max_length=max_length, keep_words=True)


def tagger():
    torch.manual_seed(3)
    config = BertConfig(
        **TINY, num_hidden_layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **NAMES
    )
    return BertForTokenClassification(config)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(("student_length", "teacher_length"), [(64, 140), (9, 140), (64, 30)])
def test_words_are_matched_whatever_their_tokens(tmp_path, cached, student_length, teacher_length, side):
    teacher, teacher_tokenizer, rows = (
        roberta(RobertaForTokenClassification),
        letters_tokenizer(teacher_length),
        sentences(max_length=student_length),
    )
    teacher_tokenizer.padding_side = side
    trainer = distill(
        tagger(), teacher, rows, tiny_tokenizer(), tmp_path, teacher_tokenizer, cache_teacher_outputs=cached,
        teacher_cache_dir=str(tmp_path / "cache"), per_device_eval_batch_size=5,
    )  # fmt: skip
    found, num_units, num_lost = iter(logits_at_units(trainer)), 0, 0
    for row in rows:
        encoded = teacher_tokenizer([row["tokens"]], is_split_into_words=True, truncation=True)
        with torch.no_grad():
            logits = teacher(input_ids=torch.tensor(encoded["input_ids"])).logits[0]
        for word in range(sum(row["word_starts"])):  # those that the student has
            if word in encoded.word_ids(0):
                assert torch.allclose(next(found), logits[encoded.word_ids(0).index(word)], atol=1e-4)
                num_units += 1
            else:
                num_lost += 1
    assert next(found, None) is None
    assert num_units > 20
    assert bool(num_lost) == (teacher_length == 30)
    assert torch.isfinite(torch.tensor(trainer.train().training_loss))


def logits_at_units(trainer):
    """The teacher's logits at the units, in the order of rows and words."""
    for batch in trainer.get_eval_dataloader(trainer.eval_dataset):
        logits = trainer.teacher(batch).logits
        yield from logits[trainer.problem_type.units(batch)]


def test_words_of_another_data_set_are_refused(tmp_path):
    rows = sentences()
    shuffled = rows["tokens"][1:] + rows["tokens"][:1]
    rows = rows.remove_columns("tokens").add_column("tokens", shuffled)
    with pytest.raises(ValueError, match="not what the student's token ids were made of"):
        distill(
            tagger(), roberta(RobertaForTokenClassification), rows, tiny_tokenizer(), tmp_path, letters_tokenizer()
        )
    with pytest.raises(ValueError, match="not what the student's token ids were made of"):
        distill(
            tagger(), roberta(RobertaForTokenClassification), rows, tiny_tokenizer(), tmp_path, letters_tokenizer(),
            text_columns=["tokens"],
        )  # fmt: skip


def test_a_language_model_has_no_words_of_its_own(tmp_path, tokenizer):
    from problems import make_problem

    case = make_problem("masked_lm", 4)
    with pytest.raises(ValueError, match="masked anew in every batch"):
        distill(case.student, case.teacher, case.rows, tokenizer, tmp_path, letters_tokenizer())


def test_a_tiny_model_of_the_students_family_is_not_changed_by_this(student, dataset, tokenizer, tmp_path):
    trainer = distill(student, tiny_model(3, seed=4), dataset, tokenizer, tmp_path, tokenizer)
    assert trainer.eval_dataset.column_names == dataset.column_names
