"""What the card says of a report, of exports, and of where weights come from; what it keeps of a hand's work."""

import copy
import os

import pytest
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from records import EXPORTS, RECORD, REPORT, TOKEN, changed, hostile

from hf_distill.hub.card.files import read_report, write_card
from hf_distill.hub.card.model_card import model_card
from hf_distill.record import describe_machine, read_licence
from hf_distill.reporting.statistics import wilson_interval


def rows_of(card, first):
    lines = [line for line in card.text.splitlines() if line.startswith(f"| {first} ")]
    return [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]


@pytest.fixture(scope="module")
def card():
    return model_card(RECORD, REPORT, EXPORTS)


def test_scores_of_the_report_stand_with_their_intervals(card):
    assert rows_of(card, "accuracy")[0] == [
        "0.9500 (0.9400 to 0.9600)", "0.9000 (0.8900 to 0.9100)", "0.8500 (0.8400 to 0.8600)",
        "0.8900 (0.8800 to 0.9000)",
    ]  # fmt: skip
    assert rows_of(card, "retention") == [["n/a", "0.9470 (0.9300 to 0.9600)", "n/a", "n/a"]]
    assert rows_of(card, "gap closed") == [["n/a", "0.5000 (0.2000 to 0.8000)", "n/a", "n/a"]]
    assert rows_of(card, "accuracy, shifted data") == [["n/a", "0.8000 (0.7900 to 0.8100)", "n/a", "n/a"]]
    assert "The student may replace the teacher." in card.text
    assert "The shifted data are 100 rows only." in card.text


def test_the_test_against_the_teacher_is_told_with_its_outcome(card):
    line = "- student against the teacher: difference -0.0500 (-0.0700 to -0.0300), p = 0.0001 (McNemar exact); not "
    assert f"{line}shown to be non-inferior within 0.01." in card.text.splitlines()


def test_seeds_are_told_apart_from_a_single_run(card):
    assert "- student: means of 3 runs; standard deviations: accuracy 0.0050." in card.text
    assert "- baseline: of a single run; another seed would give other scores." in card.text
    assert "The scores are of a single run" in model_card(RECORD).text
    assert "The scores are of a single run" not in card.text


def test_calibration_stands_before_and_after_scaling(card):
    assert rows_of(card, "expected calibration error") == [["0.0800 → 0.0200"]]
    assert rows_of(card, "temperature") == [["1.30"]]


def test_cost_names_the_machine(card):
    assert "On 2 cores of AMD EPYC, 24.0 GiB of memory." in card.text
    assert rows_of(card, "latency, cpu, 16 tokens, batch 1, p50 / p95 (ms)") == [["10.00 / 12.50"] * 3]
    assert rows_of(card, "parameters (M)") == [["109.00", "45.00", "45.00"]]


def test_exports_stand_with_their_parity(card):
    assert rows_of(card, "onnx-int8/") == [
        ["onnx", "int8", "max abs difference 0.01235, agreement 0.99, accuracy 0.9 against 0.91"]
    ]
    assert "## Exports" not in model_card(RECORD).text


def test_what_does_not_apply_is_left_out():
    report = copy.deepcopy(REPORT)
    for model in report["models"].values():
        model |= {"fidelity": None, "calibration": None, "cost": None, "versus_teacher": None, "shifted": None}
    text = model_card(RECORD, report).text
    assert not any(word in text for word in ("Calibration", "### Cost", "agreement", "shifted data |", "against the"))
    assert "None" not in text


def test_a_record_alone_gives_accuracies_their_interval():
    low, high = wilson_interval(0.9, 872)
    assert f"student {low:.4f} to {high:.4f}" in model_card(RECORD).text
    assert (low, high) == pytest.approx((0.8783, 0.9182), abs=1e-4)  # by hand, with z = 1.96
    assert wilson_interval(1.0, 10) == pytest.approx((10 / 13.8416, 1.0))


def test_weights_have_a_name_a_revision_and_a_licence_or_are_said_to_have_none_known():
    record = changed(teacher={"license": "apache-2.0"}, student={"origin_license": None, "revision": None})
    card = model_card(record)
    assert rows_of(card, "its teacher") == [["user/teacher", "0a1b2c", "apache-2.0"]]
    assert rows_of(card, "start of the student") == [["google-bert/bert-base-uncased", "unknown", "unknown"]]


def test_the_data_have_a_revision_in_text_and_metadata():
    card = model_card(changed(dataset={"revision": "c0ffee"}))
    assert rows_of(card, "revision") == [["c0ffee"]]
    assert card.data.eval_results[0].dataset_revision == "c0ffee"


def test_latency_of_the_record_names_its_machine():
    card = model_card({**RECORD, "machine": REPORT["machine"]})
    assert "Latency is of one text in float32, on 2 cores of AMD EPYC, 24.0 GiB of memory." in card.text


@pytest.mark.parametrize("record", [RECORD, hostile(RECORD)], ids=["plain", "hostile"])
def test_the_results_survive_the_hubs_own_reader_and_writer(record):
    data = model_card(record, hostile(REPORT) if record != RECORD else REPORT).data
    index = data.to_dict().get("model-index")
    assert (index is None) == (record != RECORD)  # a hostile name is no id of a data set
    if index is not None:
        name, results = model_index_to_eval_results(index)
        assert eval_results_to_model_index(name, results) == index
    assert ModelCardData(**data.to_dict()).to_dict() == data.to_dict()


def test_a_hostile_report_stays_text():
    report = hostile(REPORT, skip=("problem_type", "role"))
    report["models"] = {f"{name}\n# |x": model for name, model in report["models"].items()}
    report["task"]["metrics"] = ["accuracy"]
    card = model_card(RECORD, report, {"a|b\n# x": hostile(EXPORTS["onnx-int8"])})
    prose = "".join(("\n" + card.text).split("\n```")[::2])
    assert not any(mark in prose for mark in ("<", "*", "[u]", "](", "http:", "\u202e"))
    plain = model_card(RECORD, REPORT, EXPORTS).text.splitlines()
    for start in ("#", "|"):
        found = [line for line in card.text.splitlines() if line.startswith(start)]
        assert len(found) == len([line for line in plain if line.startswith(start)])


# ---- On the disk ----


def test_a_card_is_written_anew_until_its_text_is_edited(tmp_path):
    assert write_card(tmp_path, RECORD, None, {})
    assert write_card(tmp_path, RECORD, REPORT, EXPORTS)
    path = tmp_path / "README.md"
    assert "means of 3 runs" in path.read_text()
    edited = path.read_text().replace("## Limits", "## Limits\n\n- Not for medical texts.")
    path.write_text(edited)
    assert not write_card(tmp_path, RECORD, None, {})
    assert path.read_text() == edited


def test_what_was_added_to_the_metadata_is_kept(tmp_path):
    write_card(tmp_path, RECORD, None, {})
    card = ModelCard.load(tmp_path / "README.md")
    card.data.license, card.data.language = "mit", "en"
    card.data.tags = [*card.data.tags, "sentiment"]
    card.save(tmp_path / "README.md")
    assert write_card(tmp_path, RECORD, REPORT, {})
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.license, data.language, data.tags[-1]) == ("mit", "en", "sentiment")
    assert data.eval_results == model_card(RECORD).data.eval_results


def test_the_same_card_is_written_byte_for_byte(tmp_path):
    write_card(tmp_path, RECORD, REPORT, EXPORTS)
    first = (tmp_path / "README.md").read_bytes()
    write_card(tmp_path, RECORD, REPORT, EXPORTS)
    assert (tmp_path / "README.md").read_bytes() == first


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"format": 2}', "no report of format 1"), ("[]", "no report of format 1")],
)
def test_a_report_of_another_format_is_refused(tmp_path, text, said):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_report(tmp_path / "report.json", RECORD)


def test_a_licence_is_read_from_a_folders_card_and_from_nowhere_else(tmp_path):
    assert read_licence(tmp_path) is None
    for text, licence in [("---\nlicense: mit\n---\n# x", "mit"), ("# x", None), ("---\n: [\n---\n", None)]:
        (tmp_path / "README.md").write_text(text)
        assert read_licence(tmp_path) == licence


def test_the_machine_is_described_by_what_this_process_may_use():
    machine = describe_machine()
    assert machine.keys() == {"cores", "cpu", "memory_gb", "gpu"}
    assert 1 <= machine["cores"] <= os.cpu_count()
    assert machine["memory_gb"] > 0.1


def test_no_token_of_a_report_reaches_the_card():
    report = copy.deepcopy(REPORT)
    report["verdict"]["sentence"] = f"see {TOKEN}"
    assert TOKEN not in str(model_card(RECORD, report))
