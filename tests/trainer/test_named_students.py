"""Pretrained students of the families in docs/students.md: tiny, random, and with a tokenizer of their own."""

import pytest
import torch
from letters import letters_tokenizer
from tiny import LABEL_NAMES
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
)

from hf_distill import DistillationTrainingArguments
from hf_distill.data import load_text_dataset
from hf_distill.pipeline import ModelReference, StudentOptions, load_inputs, make_student, train

TOKENS = {"vocab_size": 60, "pad_token_id": 1}
SHAPE = {
    **TOKENS,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "max_position_embeddings": 80,
    "initializer_range": 0.2,
}

# Name of a family -> config of a tiny encoder, and the class in which its models are published.
ENCODERS = {
    "MiniLM, xtremedistil": (BertConfig(**SHAPE, num_hidden_layers=6, intermediate_size=64), AutoModel),
    "BERT miniatures": (BertConfig(**SHAPE, num_hidden_layers=2, intermediate_size=64), AutoModelForMaskedLM),
    # Like TinyBERT: neither is the head size 32 or 64, nor are there four times as many neurons.
    "TinyBERT": (
        BertConfig(**{**SHAPE, "hidden_size": 12, "num_attention_heads": 3}, num_hidden_layers=4, intermediate_size=46
        ),
        AutoModel,
    ),
    "ettin, ModernBERT": (
        ModernBertConfig(
            **SHAPE, num_hidden_layers=4, intermediate_size=24, local_attention=4, bos_token_id=0, eos_token_id=2,
            cls_token_id=0, sep_token_id=2,
        ),
        AutoModelForMaskedLM,
    ),
    "DistilBERT": (
        DistilBertConfig(**TOKENS, dim=16, n_heads=2, n_layers=2, hidden_dim=32, max_position_embeddings=80),
        AutoModelForMaskedLM,
    ),
    "ELECTRA": (ElectraConfig(**SHAPE, embedding_size=8, num_hidden_layers=2, intermediate_size=32), AutoModel),
}  # fmt: skip


@pytest.fixture(params=ENCODERS)
def encoder(request, tmp_path):
    """The folder of a published encoder: its weights without a classification head, and its tokenizer."""
    config, auto_class = ENCODERS[request.param]
    auto_class.from_config(config).save_pretrained(tmp_path / "encoder")
    letters_tokenizer().save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def test_a_pretrained_encoder_with_another_tokenizer_learns_from_the_teacher(encoder, folder, tmp_path):
    args = DistillationTrainingArguments(
        str(tmp_path / "out"), max_steps=2, learning_rate=1e-2, per_device_train_batch_size=8, warmup_steps=0,
        cache_teacher_outputs=True, teacher_cache_dir=str(tmp_path / "cache"), report_to="none", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    task = load_text_dataset(train_file=folder / "train.csv", validation_file=folder / "validation.csv")
    inputs = load_inputs(task, ModelReference(str(folder / "teacher")), ModelReference(str(encoder)), args)
    student = make_student(StudentOptions(ModelReference(str(encoder))), inputs.teacher, inputs.task)
    before = {name: parameter.detach().clone() for name, parameter in student.named_parameters()}
    trainer = train(student, inputs, args)
    trainer.save_model()

    unmoved = [name for name, parameter in student.named_parameters() if torch.equal(parameter, before[name])]
    assert not unmoved
    reloaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.get_vocab() == letters_tokenizer().get_vocab()
    assert list(reloaded.config.id2label.values()) == LABEL_NAMES
    batch = tokenizer("a very good film", return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(reloaded(**batch).logits, student.eval()(**batch).logits)
    assert trainer.evaluate()["eval_loss_kl"] > 0


def test_some_layers_of_a_pretrained_encoder_can_be_the_student(encoder, folder, tmp_path):
    args = DistillationTrainingArguments(str(tmp_path / "out"), max_steps=1, use_cpu=True, report_to="none")
    task = load_text_dataset(train_file=folder / "train.csv", validation_file=folder / "validation.csv")
    inputs = load_inputs(task, ModelReference(str(folder / "teacher")), ModelReference(str(encoder)), args)
    whole = make_student(StudentOptions(ModelReference(str(encoder))), inputs.teacher, inputs.task)
    student = make_student(StudentOptions(ModelReference(str(encoder)), 2), inputs.teacher, inputs.task)

    assert student.config.num_hidden_layers == 2
    assert list(student.config.id2label.values()) == LABEL_NAMES
    assert student.config.name_or_path == str(encoder)
    last = whole.config.num_hidden_layers - 1
    of_whole, copied = whole.base_model.state_dict(), student.base_model.state_dict()
    of_last = [name for name in of_whole if f".{last}." in name]
    assert of_last
    for name in of_last:
        torch.testing.assert_close(copied[name.replace(f".{last}.", ".1.")], of_whole[name], rtol=0, atol=0)
