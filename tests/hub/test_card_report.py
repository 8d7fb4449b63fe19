"""The parts of the card that come from a report, from exports and from earlier models; edits that it keeps."""

import copy
import json
import os

import pytest
from huggingface_hub import ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from records import EXPORT, RECORD, REPORT, TOKEN, changed, hostile, model_of_report, read_back
from tiny import tiny_model
from transformers import BertForSequenceClassification

from hf_distill.hub.card.dataset_card import dataset_card
from hf_distill.hub.card.files import find_license, read_report
from hf_distill.hub.card.model_card import model_card
from hf_distill.record import describe_machine, describe_model, read_license, read_record, write_record
from hf_distill.reporting import summary
from hf_distill.reporting.statistics import wilson_interval


def rows_of(card, first):
    lines = [line for line in card.text.splitlines() if line.startswith(f"| {first} ")]
    return [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]


@pytest.fixture(scope="module")
def card():
    return model_card(RECORD, REPORT, EXPORT)


def test_scores_of_the_report_have_intervals(card):
    assert rows_of(card, "accuracy")[0] == [
        "95.0 % (94.0 to 96.0)", "90.0 % (89.0 to 91.0)", "85.0 % (84.0 to 86.0)", "89.0 % (88.0 to 90.0)",
    ]  # fmt: skip
    assert rows_of(card, "retention") == [["n/a", "94.7 % (93.0 to 96.0)", "n/a", "n/a"]]
    assert rows_of(card, "gap closed") == [["n/a", "50.0 % (20.0 to 80.0)", "n/a", "n/a"]]
    assert rows_of(card, "accuracy, shifted data") == [["n/a", "80.0 % (79.0 to 81.0)", "n/a", "n/a"]]
    assert "Yes, the student can replace the teacher." in card.text
    assert "The shifted dataset has only 100 rows." in card.text


def test_the_test_against_the_teacher_is_given_with_its_outcome(card):
    line = "- student minus the teacher: -5.0 points (-7.0 to -3.0), p = 0.0001 (McNemar exact)"
    assert f"{line}; at most 1 point worse: no." in card.text.splitlines()


def test_several_seeds_and_a_single_run_are_described_differently(card):
    assert "- student: means of 3 runs; standard deviations: accuracy 0.5 points." in card.text
    assert "- baseline: a single run; another seed would give different scores." in card.text
    assert "The scores come from a single run" in model_card(RECORD).text
    assert "The scores come from a single run" not in card.text


def test_calibration_is_given_before_and_after_scaling(card):
    assert rows_of(card, "expected calibration error") == [["0.0800 → 0.0200"]]
    assert rows_of(card, "temperature") == [["1.30"]]


def test_cost_names_the_machine(card):
    assert "Measured on 2 cores of AMD EPYC, 24.0 GiB of memory, no GPU." in card.text
    assert rows_of(card, "latency, cpu, 16 tokens, batch 1, p50 / p95 (ms)") == [["10.00 / 12.50"] * 3]
    assert rows_of(card, "parameters (M)") == [["109.00", "45.00", "45.00"]]


def test_exports_have_a_column_each_with_a_line_for_each_number(card):
    assert rows_of(card, "variant") == [["int8"]]
    assert rows_of(card, "file") == [["onnx/model_quantized.onnx"]]
    assert rows_of(card, "max abs difference") == [["0.01235"]]
    assert ["99.0 %"] in rows_of(card, "agreement")
    assert ["90.0 % (model: 91.0 %)"] in rows_of(card, "accuracy")
    whole = {
        "on": "872 texts",
        "units": 872,
        "batchings": 3,
        "batch_dependent_decisions": 0,
        **EXPORT["variants"]["int8"]["parity"],
    }
    variants = {**EXPORT["variants"], "float32": {"file": "onnx/model.onnx", "parity": whole}}
    both = model_card(RECORD, REPORT, {**EXPORT, "variants": variants})
    assert rows_of(both, "variant") == [["int8", "float32"]]
    assert rows_of(both, "batch dependent decisions") == [["n/a", "0"]]
    section = both.text.partition("## Exports")[2].partition("```")[0]
    assert max(len(line) for line in section.splitlines() if line.startswith("|")) <= 100
    assert "## Exports" not in model_card(RECORD).text


def test_parts_that_do_not_apply_are_left_out():
    report = copy.deepcopy(REPORT)
    for model in report["models"].values():
        model |= {"fidelity": None, "calibration": None, "cost": None, "versus_teacher": None, "shifted": None}
    text = model_card(RECORD, report).text
    assert not any(word in text for word in ("Calibration", "### Cost", "agreement", "shifted data |", "minus the"))
    assert "None" not in text


def test_the_accuracy_of_several_labels_gets_an_interval_too():
    metrics = {"student": {"f1_micro": 0.8, "subset_accuracy": 0.9}}
    record = {**RECORD, "problem_type": "multi_label_classification", "metric_name": "f1_micro", "metrics": metrics}
    low, high = wilson_interval(0.9, 872)
    assert f"student {low:.4f} to {high:.4f}" in model_card(record).text


def test_accuracies_of_the_record_get_an_interval():
    low, high = wilson_interval(0.9, 872)
    assert f"student {low:.4f} to {high:.4f}" in model_card(RECORD).text
    assert (low, high) == pytest.approx((0.8783, 0.9182), abs=1e-4)  # by hand, with z = 1.96
    assert wilson_interval(1.0, 10) == pytest.approx((10 / 13.8416, 1.0), rel=1e-4)


def test_weights_have_a_name_a_revision_and_a_license_or_these_are_unknown():
    record = changed(teacher={"license": "apache-2.0"}, student={"origin_license": None, "revision": None})
    card = model_card(record)
    assert rows_of(card, "distilled from") == [["user/teacher", "0a1b2c", "apache-2.0"]]
    assert rows_of(card, "initial weights") == [["google-bert/bert-base-uncased", "unknown", "unknown"]]


def test_the_revision_of_the_dataset_is_in_text_and_metadata():
    card = model_card(changed(dataset={"revision": "c0ffee"}))
    assert rows_of(card, "revision") == [["c0ffee"]]
    assert card.data.eval_results[0].dataset_revision == "c0ffee"


def test_latency_of_the_record_names_its_machine():
    card = model_card({**RECORD, "machine": REPORT["machine"]})
    assert (
        "Latency is the time for one text in float32, on 2 cores of AMD EPYC, 24.0 GiB of memory, no GPU." in card.text
    )


@pytest.mark.parametrize("record", [RECORD, hostile(RECORD)], ids=["plain", "hostile"])
def test_the_hubs_reader_and_writer_keep_the_results(record):
    data = model_card(record, hostile(REPORT) if record != RECORD else REPORT).data
    index = data.to_dict().get("model-index")
    assert (index is None) == (record != RECORD)  # a hostile name is not the id of a dataset
    if index is not None:
        name, results = model_index_to_eval_results(index)
        assert eval_results_to_model_index(name, results) == index
    assert ModelCardData(**data.to_dict()).to_dict() == data.to_dict()


def test_scores_of_a_report_on_the_same_rows_are_in_the_metadata_with_their_intervals():
    report = copy.deepcopy(REPORT)
    report["task"]["name"] = "sst2, validation"
    (result,) = model_card(RECORD, report).data.eval_results
    assert result.metric_value == 0.90
    assert result.metric_name == "accuracy, mean of 3 runs, 95 % interval 0.8900 to 0.9100"
    report["task"]["rows"] = 100  # other rows: these scores are not about the split that the record names
    (result,) = model_card(RECORD, report).data.eval_results
    assert result.metric_name is None


def test_of_several_students_in_a_report_the_one_of_this_size_is_meant(tmp_path):
    report = copy.deepcopy(REPORT)
    report["task"]["name"] = "sst2, validation"
    report["models"]["small"] = model_of_report("student", 0.8, 20_000_000)
    record = changed(student={"num_parameters": 20_000_000})
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert read_report(tmp_path / "report.json", record) is not None
    assert model_card(record, report).data.eval_results[0].metric_value == 0.8
    with pytest.raises(ValueError, match="is about a student with 45,000,000 parameters, but this student has 7"):
        read_report(tmp_path / "report.json", changed(student={"num_parameters": 7}))


def test_a_hostile_report_stays_text():
    report = hostile(REPORT, skip=("problem_type", "role"))
    report["models"] = {f"{name}\n# |x": model for name, model in report["models"].items()}
    report["task"]["metrics"] = ["accuracy"]
    card = model_card(RECORD, report, hostile(EXPORT))
    prose = "".join(("\n" + card.text).split("\n```")[::2])
    assert not any(mark in prose for mark in ("<", "*", "[u]", "](", "http:", "\u202e"))
    plain = model_card(RECORD, REPORT, EXPORT).text.splitlines()
    for start in ("#", "|"):
        lines = [line for line in card.text.splitlines() if line.startswith(start)]
        assert len(lines) == len([line for line in plain if line.startswith(start)])


# ---- Files ----


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"format": 2}', "is not a report of format 1"), ("[]", "must contain a JSON object, got list")],
)
def test_a_report_of_another_format_is_refused(tmp_path, text, message):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_report(tmp_path / "report.json", RECORD)


def test_a_license_is_read_only_from_the_card_in_a_folder(tmp_path):
    assert read_license(tmp_path) is None
    for text, license_name in [("---\nlicense: mit\n---\n# x", "mit"), ("# x", None), ("---\n: [\n---\n", None)]:
        (tmp_path / "README.md").write_text(text)
        assert read_license(tmp_path) == license_name


def test_the_machine_is_described_by_what_this_process_can_use():
    machine = describe_machine()
    assert machine.keys() == {"cores", "threads", "is_busy", "cpu", "memory_gb", "gpu"}
    assert 1 <= machine["cores"] <= os.cpu_count()
    assert machine["memory_gb"] > 0.1


def test_a_busy_machine_is_named_wherever_its_times_stand(tmp_path):
    busy = {"machine": {**REPORT["machine"], "is_busy": True}}
    sentence = "The machine was busy with other work, so the times are unreliable."
    assert sentence in summary({**RECORD, **busy})
    assert sentence in str(model_card({**RECORD, **busy}))
    assert str(model_card(RECORD, {**REPORT, **busy})).count(sentence) == 1
    assert sentence not in summary(RECORD) + str(model_card(RECORD, REPORT))


def test_no_token_and_no_local_folder_of_a_report_reaches_the_card(tmp_path):
    report = copy.deepcopy(REPORT)
    report["models"]["student"]["cost"] = None
    report["verdict"]["sentence"] = f"see {TOKEN} in /home/me/out"
    (tmp_path / "report.json").write_text(json.dumps(report))
    text = str(model_card(RECORD, read_report(tmp_path / "report.json", RECORD)))
    assert TOKEN not in text
    assert "/home/me" not in text
    assert "see" in text


# ---- The record ----


SECRETS = {
    "command": ["/home/me/bin/hf-distill", "--hub_token", "plain-secret", TOKEN],
    "note": f"{TOKEN} ~/me/x",
    "loss": float("nan"),
}


def test_a_record_is_written_without_tokens_and_local_folders(tmp_path):
    write_record({**RECORD, **SECRETS}, tmp_path)
    text = (tmp_path / "distillation.json").read_text()
    assert not any(secret in text for secret in (TOKEN, "plain-secret", "/home", "~/", "NaN"))
    assert read_record(tmp_path) == json.loads(text)


def test_a_record_from_elsewhere_is_cleaned_when_it_is_read_and_on_disk_too(tmp_path):
    record = read_back({**RECORD, **SECRETS}, tmp_path)
    assert record["command"] == ["hf-distill", "--hub_token", "[redacted]", "[redacted]"]
    assert record["note"] == "[redacted] x"
    assert record["loss"] is None
    assert json.loads((tmp_path / "distillation.json").read_text()) == record
    before = (tmp_path / "distillation.json").stat().st_mtime_ns
    assert read_record(tmp_path) == record
    assert (tmp_path / "distillation.json").stat().st_mtime_ns == before  # a clean file is not written again


@pytest.mark.parametrize(
    "teacher",
    [
        {"name_or_path": "/models/bert-base-uncased"},
        {"teachers": [{"name_or_path": "user/teacher"}, {"name_or_path": "/models/bert-base-uncased"}]},
    ],
)
def test_the_license_of_a_local_teacher_is_not_looked_up_on_the_hub(teacher, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda self, name, **_: asked.append(name) or 1 / 0)
    record = read_back({**RECORD, "teacher": teacher}, tmp_path)
    find_license(record["teacher"])
    assert asked == (["user/teacher"] if "teachers" in teacher else [])


def test_a_model_from_a_local_folder_is_described_as_local(tmp_path, monkeypatch):
    tiny_model(1).save_pretrained(tmp_path / "bert-base-uncased")
    monkeypatch.chdir(tmp_path)
    local = BertForSequenceClassification.from_pretrained("bert-base-uncased")
    description = describe_model(local)
    assert description["is_local"]
    assert "is_local" not in describe_model(tiny_model(1))
    description["origin"] = description.pop("name_or_path")
    write_record({**RECORD, "student": {**description, "name": "x"}}, tmp_path)
    monkeypatch.undo()  # elsewhere, where there is no such folder
    assert "base_model" not in model_card(read_record(tmp_path)).data.to_dict()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "must contain a JSON object, got list"),
        (
            '{"format": 1, "student": {}}',
            "it has no problem_type, objectives, training, versions. Copy distillation.json",
        ),
    ],
)
def test_a_file_that_is_not_a_record_is_refused(tmp_path, text, message):
    (tmp_path / "distillation.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_record(tmp_path)


def test_the_card_of_a_dataset_has_neither_the_folder_nor_the_markup_of_the_teachers_name():
    teacher = {"name_or_path": "/home/me/teachers/<b>", "revision": None, "dtype": "float32", "max_seq_length": 128}
    text = str(dataset_card("labelled", teacher, {"train": 1000}))
    assert "a teacher (&#60;b&#62;)" in text
    assert "/home/me" not in text
    assert "| train | 1,000 |" in text
