import textwrap

import pytest
from hub_server import HubServer, run_against
from huggingface_hub import ModelCard
from records import HOSTILE, RECORD, REPORT, TOKEN, changed, hostile, minimal, read_back
from tiny import tiny_model
from transformers import BertForMaskedLM, BertForSequenceClassification, BertForTokenClassification

from hf_distill.hub.card.model_card import model_card


def lines_with(card, start):
    return [line for line in card.text.splitlines() if line.startswith(start)]


def prose(card):
    """The text without code blocks."""
    return "".join(("\n" + card.text).split("\n```")[::2])


def table_row(card, first):
    (line,) = lines_with(card, f"| {first} ")
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_metadata_have_the_form_that_the_hub_expects():
    assert model_card(RECORD).data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["text-classification", "distillation", "knowledge-distillation", "hf_distill"],
        "base_model": "google-bert/bert-base-uncased",
        "base_model_relation": "finetune",
        "teacher_model": "user/teacher",
        "datasets": ["nyu-mll/glue"],
        "metrics": ["accuracy"],
        "model-index": [
            {
                "name": "distil-sst2",
                "results": [
                    {
                        "task": {"type": "text-classification", "name": "Text Classification"},
                        "dataset": {
                            "name": "nyu-mll/glue sst2",
                            "type": "nyu-mll/glue",
                            "config": "sst2",
                            "split": "validation",
                        },
                        "metrics": [{"type": "accuracy", "value": 0.90}],
                    }
                ],
            }
        ],
    }


@pytest.mark.parametrize("record", [RECORD, minimal(), hostile(RECORD)], ids=["full", "minimal", "hostile"])
def test_a_card_that_was_saved_and_loaded_is_the_same(record, tmp_path):
    card = model_card(record)
    card.save(tmp_path / "README.md")
    loaded = ModelCard.load(tmp_path / "README.md")
    assert loaded.data.to_dict() == card.data.to_dict()
    assert str(loaded) == str(card)


def test_the_results_include_the_teacher_and_the_baseline():
    card = model_card(RECORD)
    assert table_row(card, "teacher") == ["0.9500", "100.0 %", "109.0", "30.00"]
    assert table_row(card, "student") == ["0.9000", "94.7 %", "45.0", "10.00"]
    assert table_row(card, "baseline (no teacher)") == ["0.8500", "89.5 %", "45.0", "n/a"]
    assert table_row(card, "agreement") == ["n/a", "0.9500", "n/a"]
    assert lines_with(card, "gap closed") == ["gap closed: 50 %"]


def test_a_gap_that_few_rows_cannot_show_is_not_given():
    card = model_card(changed(dataset={"eval_rows": 50}))
    assert lines_with(card, "gap closed") == ["gap closed: n/a (the teacher is not clearly better than the baseline)"]


def test_the_card_says_that_a_lower_score_than_the_baselines_was_not_tested():
    text = "the student's accuracy is 1 point below the baseline's; this table does not test differences"
    metrics = {"student": {"accuracy": 0.84}}
    assert text in model_card(changed(metrics=metrics)).text
    assert "below the baseline" not in model_card(RECORD).text


@pytest.mark.parametrize(
    ("parts", "formula"),
    [
        (
            {},
            "1.0 · 2.0² · KL(softmax(teacher / 2.0) ‖ softmax(student / 2.0)) + "
            "0.1 · cross-entropy(label, softmax(student))",
        ),
        (
            {"objectives": {"ce": {"weight": 0.5, "label_smoothing": 0.1}}},
            "1.0 · 2.0² · KL(softmax(teacher / 2.0) ‖ softmax(student / 2.0)) + "
            "0.5 · cross-entropy(label, softmax(student), label smoothing 0.1)",
        ),
        (
            {
                "problem_type": "regression",
                "objectives": {"kl": {"weight": 1.0, "temperature": None}},
            },
            "1.0 · (student − teacher)² + 0.1 · (student − label)²",
        ),
        (
            {"objectives": {"kl": {"weight": 0.5}, "dkd": {"weight": 2, "temperature": 4.0, "alpha": 1.0}}},
            "0.5 · kl(student, teacher) + 0.1 · cross-entropy(label, softmax(student)) + "
            "2 · dkd(student, teacher, temperature = 4.0, alpha = 1.0)",
        ),
        (
            {
                "objectives": {
                    "kl": {"weight": 1.0, "temperature": {"schedule": "linear", "start": 4.0, "end": 1.0}},
                    "hidden_mse": {
                        "weight": {"schedule": "cosine", "start": 1.0, "end": 0.0},
                        "layer_mapping": "last",
                    },
                }
            },
            "1.0 · (4.0 → 1.0, linear)² · KL(softmax(teacher / (4.0 → 1.0, linear)) ‖ "
            "softmax(student / (4.0 → 1.0, linear))) + 0.1 · cross-entropy(label, softmax(student)) + "
            "(1.0 → 0.0, cosine) · hidden_mse(student, teacher, layer_mapping = last)",
        ),
    ],
)
def test_the_loss_is_a_formula_with_its_constants(parts, formula):
    assert lines_with(model_card(changed(**parts)), "L = ") == [f"L = {formula}"]


def test_the_example_runs_a_regression_without_a_sigmoid():
    call = 'classifier = pipeline("text-classification", model="distil-sst2"'
    assert lines_with(model_card(RECORD), "classifier = ") == [f"{call})"]
    regression = model_card(changed(problem_type="regression"))
    assert lines_with(regression, "classifier = ") == [f'{call}, function_to_apply="none")']


@pytest.mark.parametrize("origin", ["/home/me/bert-base-uncased", "C:\\models\\bert", "checkpoint-500", "a/b/c", None])
def test_a_student_from_a_local_folder_has_no_base_model(origin, tmp_path):
    record = changed(student={"origin": origin})
    for variant in (record, read_back(record, tmp_path)):  # the folder's name alone must not look like an id
        metadata = model_card(variant).data.to_dict()
        assert "base_model" not in metadata
        assert "base_model_relation" not in metadata


def test_a_relative_folder_is_not_mistaken_for_an_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "teacher").mkdir(parents=True)
    card = model_card(changed(student={"origin": "out/teacher"}, teacher={"name_or_path": "out/teacher"}))
    assert "base_model" not in card.data.to_dict()
    assert card.data.teacher_model == "teacher"


def test_an_old_bare_id_is_a_base_model():
    assert model_card(changed(student={"origin": "distilbert-base-uncased"})).data.base_model == (
        "distilbert-base-uncased"
    )


def test_scores_on_local_data_are_not_claimed_for_a_dataset_on_the_hub():
    metadata = model_card(changed(dataset={"id": "reviews.csv", "config": None})).data.to_dict()
    assert "datasets" not in metadata
    assert "model-index" not in metadata
    assert metadata["metrics"] == ["accuracy"]


def test_a_score_that_is_not_a_number_is_not_published():
    card = model_card(changed(metrics={"student": {"accuracy": float("nan"), "f1": 0.5}}))
    assert card.data.metrics == ["f1"]
    assert table_row(card, "student")[0] == "n/a"


def test_retention_is_explained_only_beside_its_column():
    assert "Retention is the model's score" in model_card(RECORD).text
    without_teacher = model_card({**RECORD, "metrics": {"student": {"accuracy": 0.5}}})
    assert "retention" not in without_teacher.text.lower()
    assert "Gap closed is" in without_teacher.text


def test_a_record_with_nothing_optional_makes_a_card():
    card = model_card(minimal())
    assert "No evaluation was recorded." in card.text
    assert "None" not in str(card)
    assert card.data.to_dict().keys() == {"library_name", "pipeline_tag", "tags"}


def test_a_teacher_that_was_built_in_memory_is_unnamed():
    card = model_card(changed(teacher={"name_or_path": None}))
    assert "distilled from an unnamed teacher (bert, 12 layers" in card.text
    assert "teacher_model" not in card.data.to_dict()


def test_a_model_without_a_teacher_is_not_called_distilled():
    record = {**minimal(), "objectives": {"ce": {"weight": 1.0, "label_smoothing": 0.0}}}
    assert "trained on labels alone, without a teacher" in model_card(record).text


def test_hostile_strings_stay_text():
    record = hostile(RECORD)
    record["command"] = ["hf-distill", HOSTILE, "```"]
    record["metrics"] = {model: {HOSTILE: 0.5, "```\n# x": 0.5} for model in RECORD["metrics"]}
    record["training"] = {HOSTILE: HOSTILE}
    record["objectives"] = {HOSTILE: {"weight": 1.0, HOSTILE: 1.0}}
    card, benign = model_card(record), model_card(RECORD)

    assert not any(mark in prose(card) for mark in ("<", "*", "[u]", "](", "http:", "\u202e"))
    assert prose(card).count("`") == prose(benign).count("`")
    for start in ("#", "```"):
        assert len(lines_with(card, start)) == len(lines_with(benign, start))
    widths = {line.replace("\\|", "").count("|") for line in lines_with(card, "|")}
    assert widths == {3, 5, 6}
    assert not lines_with(card, "---")


def test_neither_local_folders_nor_tokens_reach_the_card(tmp_path):
    record = changed(
        student={"name": "/home/me/out/distil", "origin": f"me/{TOKEN}"},
        teacher={"name_or_path": "/home/me/secret folder/teacher/"},
        dataset={"id": "~/me/data/reviews.csv", "config": "D:\\me\\c"},
        command=[
            "/home/me/bin/hf-distill",
            "--data_dir=/home/me/data",
            "--output_dir",
            "../me/out",
            '{"folder": "/home/me/cache"}',
            "--hub_token",
            "plain-secret",
            "--hub-token=plain-secret",
            "hf_abcd1234",
        ],
        training={"logging_dir": "file:///home/me/logs", "run_name": TOKEN},
    )
    record = read_back(record, tmp_path)
    text = str(model_card(record))
    for published in (text, (tmp_path / "distillation.json").read_text()):
        assert not any(secret in published for secret in ("home", "/me", "\\me", "secret", TOKEN, "hf_abcd1234"))
    assert lines_with(model_card(record), "hf-distill") == [
        "hf-distill --data_dir=data --output_dir out '{\"folder\": \"cache\"}' --hub_token '[redacted]' "
        "'--hub-token=[redacted]' '[redacted]'"
    ]
    assert "from teacher (bert" in text
    assert 'model="distil"' in text


def test_urls_and_names_that_only_look_like_tokens_are_kept(tmp_path):
    record = changed(teacher={"name_or_path": "user/hf_sentiment"}, command=["a/b", "https://x.org/y"])
    card = model_card(read_back(record, tmp_path))
    assert card.data.teacher_model == "user/hf_sentiment"
    assert lines_with(card, "a/b") == ["a/b https://x.org/y"]


def test_the_hub_accepts_the_cards_and_would_refuse_a_broken_one(tmp_path):
    for name, record in {"full": RECORD, "minimal": minimal(), "hostile": hostile(RECORD)}.items():
        model_card(record).save(tmp_path / f"{name}.md")
    script = """
        from huggingface_hub import ModelCard
        for name in ("full", "minimal", "hostile"):
            ModelCard.load(name + ".md").validate()
        broken = ModelCard("---\\nmodel-index:\\n- name: x\\n---\\n", ignore_metadata_errors=True)
        broken.data["model-index"] = [{"name": "x"}]
        try:
            broken.validate()
        except ValueError:
            print("refused")
    """
    with HubServer() as server:
        done = run_against(server, textwrap.dedent(script), tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "refused\n"
        assert server.calls.count("POST /api/validate-yaml") == 4


@pytest.mark.parametrize(
    ("problem_type", "task", "expected"),
    [
        ("multi_label_classification", "text-classification", "KL(sigmoid(teacher / 2.0)"),
        ("token_classification", "token-classification", "The loss is the mean over words"),
        ("masked_lm", "fill-mask", "This masked language model"),
    ],
)
def test_the_card_names_the_problem_type(problem_type, task, expected):
    card = model_card({**RECORD, "problem_type": problem_type})
    assert card.data.pipeline_tag == task
    assert task in card.data.tags
    assert f'pipeline("{task}"' in card.content
    assert expected in card.content


def files_of(**splits):
    return {
        split: {"files": [{"name": name, "format": kind} for name in names], "sha256": f"hash of {split}"}
        for split, (kind, *names) in splits.items()
    }


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (
            {"id": "labelled.csv", "splits": files_of(train=("CSV", "labelled.csv"), test=("CSV", "test.csv"))},
            "test.csv",
        ),
        (
            {"id": "a.csv", "splits": files_of(train=("CSV", "a.csv", "b.csv"), test=("JSON", "c.json", "d.json"))},
            "c.json, d.json",
        ),
        (
            {"id": "a.zip", "splits": files_of(train=("CSV", "a.zip/a.csv"), test=("CSV", "b.zip/b.csv"))},
            "b.zip/b.csv",
        ),
        (
            {"id": "rows.csv", "splits": files_of(train=("CSV", "rows.csv"), test=("CSV", "rows.csv"))},
            "rows.csv, split test",
        ),
        (
            {"id": "banking", "splits": files_of(train=("CSV", "train.csv"), test=("CSV", "test.csv"))},
            "banking, split test (test.csv)",
        ),
        ({"id": "user/name", "splits": files_of(test=("Hub dataset", "user/name/test"))}, "user/name, split test"),
        ({"id": "imdb", "splits": files_of(test=("Hub dataset", "imdb/test"))}, "imdb, split test"),
        ({"id": "saved", "splits": files_of(test=("save_to_disk", "saved/test"))}, "saved, split test"),
    ],
)
def test_the_card_names_the_file_that_was_evaluated(dataset, expected):
    card = model_card(changed(dataset={"config": None, "eval_split": "test", "eval_rows": 1600, **dataset}))
    assert lines_with(card, "Evaluated on ") == [f"Evaluated on {expected}, 1,600 rows."]
    assert f"evaluated only on {expected}, 1,600 rows." in card.text


def test_the_card_has_the_scores_on_test_rows():
    splits = files_of(train=("CSV", "a.csv"), validation=("CSV", "dev.csv"), test=("CSV", "test.csv"))
    test = {"rows": 1600, "teacher": {"accuracy": 0.91}, "student": {"accuracy": 0.9}}
    record = {**changed(dataset={"id": "a.csv", "config": None, "splits": splits}), "test": test}
    card = model_card(record)
    assert (
        "On rows that took no part in training (test.csv, 1,600 rows), accuracy: teacher 0.9100, student 0.9000."
        in card.text
    )
    assert "evaluated only on dev.csv, 872 rows and on test.csv, 1,600 rows." in card.text


@pytest.mark.parametrize(
    ("replace", "expected", "unexpected"),
    [
        (True, "a text classifier in place of its teacher, for texts similar to", "The report below"),
        (None, "The report below did not show that the model can replace its teacher.", "in place of its teacher"),
        (False, "The report below says that the model should not replace its teacher.", "in place of its teacher"),
    ],
)
def test_the_intended_use_agrees_with_the_verdict(replace, expected, unexpected):
    card = model_card(RECORD, {**REPORT, "verdict": {**REPORT["verdict"], "replace": replace}})
    (line,) = lines_with(card, "Use this model as")
    assert expected in line
    assert unexpected not in line
    assert "in place of its teacher, for texts" in model_card(RECORD).text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test.csv", "was evaluated on dev.csv, 872 rows, and for the report it was evaluated on test.csv, 872 rows."),
        ("dev.csv", "was evaluated only on dev.csv, 872 rows."),
    ],
)
def test_the_limits_name_the_rows_of_the_report(name, expected):
    splits = files_of(train=("CSV", "a.csv"), validation=("CSV", "dev.csv"))
    record = changed(dataset={"id": "a.csv", "config": None, "splits": splits})
    card = model_card(record, {**REPORT, "task": {**REPORT["task"], "name": name}})
    assert f"The model {expected} Its quality on other texts" in card.text


def test_the_card_lists_every_file_with_the_hash_of_its_rows():
    splits = files_of(train=("CSV", "a.csv", "b.csv"), validation=("CSV", "dev.csv"), transfer=("text", "more.txt"))
    card = model_card(changed(dataset={"id": "a.csv", "config": None, "splits": splits}))
    assert table_row(card, "train files") == ["a.csv, b.csv; SHA-256 of the rows: hash of train"]
    assert table_row(card, "transfer files") == ["more.txt; SHA-256 of the rows: hash of transfer"]
    hostile_card = model_card(hostile(changed(dataset={"splits": splits})))
    assert "<script>" not in prose(hostile_card)


def test_the_card_names_the_sources_of_unlabelled_text():
    sources = [
        {"name": "reviews.txt", "rows": 5000, "drawn": 1200},
        {"name": "user/films", "rows": 30, "drawn": 30},
        {"name": HOSTILE, "rows": 1, "drawn": 1},
    ]
    card = model_card(changed(dataset={"transfer": {"sources": sources, "rows": 1231}}))
    (sources_cell,) = table_row(card, "unlabelled text from")
    assert sources_cell.startswith("reviews.txt (1,200 of 5,000 texts); user/films (30 of 30 texts); ")
    assert "<script>" not in sources_cell


@pytest.mark.parametrize("kind", ["pair", "token_classification", "masked_lm", "regression"])
def test_the_example_of_the_card_runs(kind, tmp_path, monkeypatch, tokenizer):
    model_class = {"token_classification": BertForTokenClassification, "masked_lm": BertForMaskedLM}
    config = tiny_model(1).config
    config.num_labels = 1 if kind == "regression" else 3
    model_class.get(kind, BertForSequenceClassification)(config).save_pretrained(tmp_path / "student")
    tokenizer.save_pretrained(tmp_path / "student")
    monkeypatch.chdir(tmp_path)
    columns = ["premise", "hypothesis"] if kind == "pair" else ["sentence"]
    splits = {"train": {"files": [], "sha256": "x", "text_columns": columns}}
    record = changed(student={"name": "student"}, dataset={"splits": splits})
    card = model_card({**record, **({} if kind == "pair" else {"problem_type": kind})})
    code = card.text.split("```python\n")[1].split("```")[0]
    *statements, call = code.strip().splitlines()
    scope: dict = {}
    exec("\n".join(statements), scope)
    assert ("text_pair" in call) == (kind == "pair")
    assert eval(call, scope)
