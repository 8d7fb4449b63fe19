"""Plain text for masked language models: rows, masks that change and masks that stay."""

import copy

import pytest
import torch
from invariance import make_args
from layer_references import UNSET
from problems import make_problem
from tiny import tiny_rows

from hf_distill import DistillationTrainer
from hf_distill.data import MaskingCollator, chunk_texts, mask_once

TEXTS = [row["text"] for row in tiny_rows(40)]


def test_texts_are_joined_by_a_separator_and_cut(tokenizer):
    rows = chunk_texts(["a film", "", "the plot is good"], tokenizer, max_length=6)
    words = [tokenizer.convert_ids_to_tokens(ids) for ids in rows["input_ids"]]
    assert words == [["[CLS]", "a", "film", "[SEP]", "the", "[SEP]"], ["[CLS]", "plot", "is", "good", "[SEP]"]]
    with pytest.raises(ValueError, match="no word"):
        chunk_texts(["", " "], tokenizer)


def test_rows_are_masked_anew_in_every_batch(tokenizer):
    rows, collate = chunk_texts(TEXTS, tokenizer, max_length=32).to_list(), MaskingCollator(tokenizer)
    once, again = collate(rows), collate(rows)
    assert not torch.equal(once["labels"], again["labels"])
    found = once["labels"] != -100
    # What is to be found is what was there.
    whole = tokenizer.pad(rows, return_tensors="pt")["input_ids"]
    assert torch.equal(torch.where(found, once["labels"], once["input_ids"]), whole)
    assert 0.08 < found.float().mean().item() < 0.22
    assert not set(once["labels"][found].tolist()) & set(tokenizer.all_special_ids)


def test_rows_that_were_masked_once_stay_so(tokenizer):
    rows = chunk_texts(TEXTS, tokenizer, max_length=32)
    masked = mask_once(rows, tokenizer)
    assert masked.to_list() == mask_once(rows, tokenizer).to_list()
    assert masked.to_list() != mask_once(rows, tokenizer, seed=1).to_list()
    batch = MaskingCollator(tokenizer)(masked.to_list())
    lengths = [len(ids) for ids in masked["input_ids"]]
    for name in ("input_ids", "labels"):
        assert [row[:n] for row, n in zip(batch[name].tolist(), lengths, strict=True)] == masked[name][:]
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


def test_evaluation_asks_the_same_before_and_after_a_training_that_masks_anew(tokenizer, tmp_path):
    problem = make_problem("masked_lm")
    rows = chunk_texts(TEXTS, tokenizer, max_length=16)
    trainer = DistillationTrainer(
        copy.deepcopy(problem.student), problem.teacher,
        make_args(tmp_path, objectives={"kl": 5.0, "ce": 2.0, "hidden_cosine": {"layer_mapping": "last"}}, **UNSET),
        train_dataset=rows, eval_dataset=mask_once(rows, tokenizer), data_collator=MaskingCollator(tokenizer),
        processing_class=tokenizer,
    )  # fmt: skip
    first, again = trainer.evaluate(), trainer.evaluate()
    for name in ("eval_loss", "eval_loss_kl", "eval_loss_ce", "eval_agreement"):
        assert first[name] == again[name]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < first["eval_loss"]
