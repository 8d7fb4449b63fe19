"""Folders of a PEFT adapter, which have no config of a model, as teachers and to compare and export."""

import pytest
import torch
from docs_folder import save
from peft import LoraConfig, get_peft_model
from tiny import LABEL_NAMES, tiny_model, tiny_rows
from transformers import AutoModelForSequenceClassification

from hf_distill import compare_models
from hf_distill.data import load_text_dataset
from hf_distill.export.loading import load_classifier
from hf_distill.pipeline import ModelReference
from hf_distill.pipeline.teacher_head import read_head
from hf_distill.record import describe_model
from hf_distill.teachers import load_teacher


@pytest.fixture
def adapter(tmp_path, tokenizer):
    """The folder of an adapter with weights of its own for the head."""
    save(tiny_model(2, seed=3), tmp_path / "base", tokenizer)
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    config = LoraConfig(task_type="SEQ_CLS", target_modules=["query"], modules_to_save=["classifier"])
    model = get_peft_model(base, config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))))
    save(model, tmp_path / "adapter", tokenizer)
    assert not (tmp_path / "adapter" / "config.json").exists()
    return tmp_path / "adapter", model.eval()


def test_a_folder_of_an_adapter_answers_as_the_model_that_was_saved(adapter, tokenizer):
    folder, model = adapter
    assert read_head(ModelReference(str(folder))) is None
    batch = tokenizer(["a great film", "boring"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**batch).logits
        for loaded in (load_teacher(folder, allow_random_head=False), load_classifier(folder)):
            torch.testing.assert_close(loaded.eval()(**batch).logits, expected)
            assert describe_model(loaded)["name_or_path"] == str(folder)


def test_a_folder_of_an_adapter_is_compared_with_its_base(adapter, tmp_path):
    path = tmp_path / "rows.csv"
    lines = [f"{row['text']},{LABEL_NAMES[row['label']]}" for row in tiny_rows(24)]
    path.write_text("\n".join(["text,label", *lines]))
    rows = load_text_dataset(train_file=path, needs_validation=False).datasets["train"]
    models = {"teacher": str(tmp_path / "base"), "student": str(adapter[0])}
    report = compare_models(models, rows, text_columns=["text"], latency_rounds=0).to_dict()
    assert report["models"]["student"]["origin"] == "adapter"
    assert report["models"]["student"]["fidelity"]["agreement"]["value"] < 1
