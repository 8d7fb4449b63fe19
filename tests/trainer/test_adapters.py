"""Folders of a PEFT adapter, which have no config of a model, as teachers and to compare and export."""

import copy
import json
import shutil

import pytest
import torch
from command_line import flags
from docs_folder import save
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from tiny import LABEL_NAMES, tiny_model, tiny_rows
from transformers import AutoModelForSequenceClassification

from hf_distill import Predictor, compare_models, create_student, export_model
from hf_distill.cli import main
from hf_distill.data import load_text_dataset
from hf_distill.export.loading import load_classifier
from hf_distill.pipeline import ModelReference
from hf_distill.pipeline.teacher_head import read_head
from hf_distill.record import describe_model, read_record
from hf_distill.students import trim_vocabulary
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


def test_an_export_has_the_adapter_in_its_weights(adapter, tokenizer, tmp_path):
    folder, model = adapter
    texts = [row["text"] for row in tiny_rows(6)]
    with torch.no_grad():
        expected = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.softmax(dim=-1)
    names = [model.config.id2label[i] for i in range(expected.shape[1])]
    for place, source in enumerate((model, str(folder), load_classifier(folder))):
        export_model(source, tmp_path / f"onnx_{place}", processing_class=tokenizer)
        for row, answers in zip(expected, Predictor(tmp_path / f"onnx_{place}")(texts, top_k=None), strict=True):
            scores = {answer["label"]: answer["score"] for answer in answers}
            assert [scores[name] for name in names] == pytest.approx(row.tolist(), abs=1e-5)
    assert "lora_A" in str(model.state_dict().keys())  # the model itself keeps its adapter


def test_a_folder_with_an_adapter_and_a_whole_model_is_refused(adapter, tmp_path):
    folder, model = adapter
    shutil.copytree(folder, tmp_path / "both")
    copy.deepcopy(model).merge_and_unload().save_pretrained(tmp_path / "both")
    for load in (load_teacher, load_classifier):
        with pytest.raises(ValueError, match="has the weights of a whole model .* and an adapter .* a second time"):
            load(tmp_path / "both")
    for content in ("[]", "{"):
        (folder / "adapter_config.json").write_text(content)
        with pytest.raises(ValueError, match="adapter_config.json is damaged"):
            load_classifier(folder)


def test_an_adapter_whose_base_cannot_be_found_names_both(adapter, tmp_path):
    path = adapter[0] / "adapter_config.json"
    config = json.loads(path.read_text())
    for base in (str(tmp_path / "moved"), "../moved"):
        path.write_text(json.dumps({**config, "base_model_name_or_path": base}))
        with pytest.raises(OSError, match=r"adapter_config.json says .* is for '.*moved'.*no such folder"):
            load_teacher(adapter[0])
    (tmp_path / "empty").mkdir()
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "config.json").write_text('{"model_type": "nothing_known"}')
    for base in ("empty", "moved", "adapter"):
        path.write_text(json.dumps({**config, "base_model_name_or_path": str(tmp_path / base)}))
        with pytest.raises(OSError, match=rf"adapter_config.json says .* is for '.*{base}'.*cannot be loaded"):
            load_teacher(adapter[0])
    for base in (None, "", 7):
        path.write_text(json.dumps({**config, "base_model_name_or_path": base}))
        with pytest.raises(ValueError, match="names no `base_model_name_or_path`"):
            load_teacher(adapter[0])


def test_a_folder_of_an_adapter_is_compared_with_its_base(adapter, tmp_path):
    path = tmp_path / "rows.csv"
    lines = [f"{row['text']},{LABEL_NAMES[row['label']]}" for row in tiny_rows(24)]
    path.write_text("\n".join(["text,label", *lines]))
    rows = load_text_dataset(train_file=path, needs_validation=False).datasets["train"]
    models = {"teacher": str(tmp_path / "base"), "student": str(adapter[0])}
    report = compare_models(models, rows, text_columns=["text"], latency_rounds=0).to_dict()
    assert report["models"]["student"]["origin"] == "adapter"
    assert report["models"]["student"]["fidelity"]["agreement"]["value"] < 1


def test_the_student_of_an_adapter_has_the_adapter_in_its_weights(adapter, tokenizer):
    folder, model = adapter
    batch = tokenizer(["a great film", "boring"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**batch).logits
        for teacher in (str(folder), model, load_teacher(folder, allow_random_head=False)):
            student = create_student(teacher, 2)
            assert not [name for name in student.state_dict() if "lora" in name or "modules_to_save" in name]
            torch.testing.assert_close(student(**batch).logits, expected)
            torch.testing.assert_close(model(**batch).logits, expected, rtol=0, atol=0)  # the teacher is not changed
        with model.disable_adapter():
            torch.testing.assert_close(create_student(model, 2)(**batch).logits, model(**batch).logits)
    assert len(create_student(model, layers=[1]).base_model.encoder.layer) == 1


def test_a_trimmed_vocabulary_of_an_adapter_answers_as_the_adapter(adapter, tokenizer):
    texts = ["a great film", "boring"]
    trimmed, pieces, _ = trim_vocabulary(adapter[1], tokenizer, texts)
    with torch.no_grad():
        expected = adapter[1](**tokenizer(texts, padding=True, return_tensors="pt")).logits
        torch.testing.assert_close(trimmed(**pieces(texts, padding=True, return_tensors="pt")).logits, expected)


def test_a_learned_prompt_is_in_no_layer(adapter):
    config = PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)
    model = get_peft_model(create_student(adapter[1], 2), config)
    with pytest.raises(ValueError, match="is a learned prompt .* cannot be merged"):
        create_student(model, 1)


def test_a_run_makes_its_student_of_an_adapter(adapter, folder, tmp_path):
    out = tmp_path / "out"
    main(["train", *flags(folder, out, teacher_model_name_or_path=adapter[0]), "--student_trim_vocabulary"])
    record = read_record(out)
    assert (record["teacher"]["name_or_path"], record["student"]["origin"]) == ("adapter", "adapter")
    names = AutoModelForSequenceClassification.from_pretrained(out).state_dict().keys()
    assert not [name for name in names if "lora" in name]
