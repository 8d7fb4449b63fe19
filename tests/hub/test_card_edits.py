"""A card is written again in its sections and metadata; whatever the user wrote stays."""

import pytest
import yaml
from huggingface_hub import ModelCard
from records import EXPORT, RECORD, REPORT, changed

from hf_distill.hub.card.files import write_card
from hf_distill.hub.card.front_matter import Card, change_metadata, join_card, split_card
from hf_distill.hub.card.hub_edits import choose_card
from hf_distill.hub.card.merge import has_user_text
from hf_distill.hub.card.model_card import model_card

BETTER = changed(metrics={"student": {"accuracy": 0.92}})


def write(folder, record=RECORD, report=None, export=None, **given):
    """Write a card and return the sentences about it."""
    return write_card(folder, record, report, export, given)


def edit(folder, *replacements, name="README.md"):
    text = (folder / name).read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / name).write_text(text)


def data_of(folder, name="README.md"):
    return ModelCard.load(folder / name).data.to_dict()


# ---- Text ----


def test_a_card_is_written_again_byte_for_byte(tmp_path):
    assert write(tmp_path, report=REPORT, export=EXPORT) == []
    first = (tmp_path / "README.md").read_bytes()
    assert write(tmp_path, report=REPORT, export=EXPORT) == []
    assert (tmp_path / "README.md").read_bytes() == first
    assert not has_user_text(first.decode())


def test_without_its_comments_the_file_is_the_card(tmp_path):
    write(tmp_path, report=REPORT, export=EXPORT)
    loaded, card = ModelCard.load(tmp_path / "README.md"), model_card(RECORD, REPORT, EXPORT)
    lines = [line for line in loaded.text.splitlines() if not line.startswith("<!-- hf_distill:")]
    assert [line for line in lines if line] == [line for line in card.text.splitlines() if line]
    assert loaded.data.to_dict() == card.data.to_dict()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_text_around_the_sections_stays_and_the_sections_are_updated(tmp_path, newline):
    write(tmp_path)
    edit(tmp_path, ("<!-- hf_distill:begin introduction", "Ours since May.\n\n<!-- hf_distill:begin introduction"))
    edit(tmp_path, ("<!-- hf_distill:end limits -->", "<!-- hf_distill:end limits -->\n\nCall us: 5 pm."))
    path = tmp_path / "README.md"
    path.write_bytes(path.read_text().replace("\n", newline).encode())
    assert write(tmp_path, BETTER) == []
    content = path.read_bytes().decode()
    lines = content.replace("\r\n", "\n")
    assert "Ours since May.\n\n<!-- hf_distill:begin introduction" in lines
    assert "<!-- hf_distill:end limits -->\n\nCall us: 5 pm.\n" in lines
    assert "0.9200" in lines
    assert content.count("\n") == content.count(newline)
    assert data_of(tmp_path)["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.92


def test_an_edited_section_stays_and_all_others_are_updated(tmp_path):
    write(tmp_path)
    edit(tmp_path, ("## Limits\n", "## Limits\n\n- Not for medical texts.\n"))
    (note,) = write(tmp_path, BETTER)
    assert "README.md keeps the edited sections: limits." in note
    text = (tmp_path / "README.md").read_text()
    assert "- Not for medical texts." in text
    assert "0.9200" in text


def test_a_section_that_was_emptied_stays_empty_and_one_that_was_deleted_returns(tmp_path):
    write(tmp_path)
    text = (tmp_path / "README.md").read_text()
    begin, end = text.index("## Limits"), text.index("<!-- hf_distill:end limits -->")
    (tmp_path / "README.md").write_text(text[:begin] + text[end:])
    write(tmp_path)
    assert "## Limits" not in (tmp_path / "README.md").read_text()
    begin = text.index("<!-- hf_distill:begin limits")
    (tmp_path / "README.md").write_text(text[:begin] + text[end + len("<!-- hf_distill:end limits -->") :])
    write(tmp_path)
    assert (tmp_path / "README.md").read_text() == text


def test_the_section_of_the_exports_comes_and_goes_in_its_place(tmp_path):
    write(tmp_path)
    without = (tmp_path / "README.md").read_text()
    write(tmp_path, export=EXPORT)
    heads = [line for line in (tmp_path / "README.md").read_text().splitlines() if line.startswith("## ")]
    assert heads[heads.index("## Exports") - 1 : heads.index("## Exports") + 2] == [
        "## Results",
        "## Exports",
        "## Loss",
    ]
    write(tmp_path)
    assert (tmp_path / "README.md").read_text() == without


def test_a_readme_by_hand_stays_and_the_card_goes_into_a_second_file(tmp_path):
    (tmp_path / "README.md").write_text("# My model\n")
    (note,) = write(tmp_path)
    assert note == (
        "README.md stays as it is, because it was not written by hf_distill. The model card is in MODEL_CARD.md."
    )
    assert (tmp_path / "README.md").read_text() == "# My model\n"
    assert "0.9000" in (tmp_path / "MODEL_CARD.md").read_text()
    write(tmp_path, BETTER)
    assert "0.9200" in (tmp_path / "MODEL_CARD.md").read_text()
    (tmp_path / "README.md").unlink()
    assert write(tmp_path, BETTER) == []
    assert "0.9200" in (tmp_path / "README.md").read_text()
    assert not (tmp_path / "MODEL_CARD.md").exists()


def test_two_files_by_hand_both_stay(tmp_path):
    for name in ("README.md", "MODEL_CARD.md"):
        (tmp_path / name).write_text(f"# Mine: {name}\n")
    (note,) = write(tmp_path)
    assert "no model card was written" in note
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == [
        "# Mine: MODEL_CARD.md\n",
        "# Mine: README.md\n",
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<!-- hf_distill:end results -->", "", "has no partner"),
        ("library_name: transformers", "library_name: [transformers", "not valid YAML in line"),
        ("library_name: transformers", "library_name: a\nlibrary_name: b", "the key library_name more than once"),
        ("name: distil-sst2", "title: distil-sst2", "its model-index does not have the form"),
    ],
)
def test_a_card_that_cannot_be_updated_stays_and_the_reason_is_given(tmp_path, old, new, reason):
    write(tmp_path)
    edit(tmp_path, (old, new))
    before = (tmp_path / "README.md").read_bytes()
    (note,) = write(tmp_path, BETTER)
    assert reason in note
    assert (tmp_path / "README.md").read_bytes() == before
    assert "0.9200" in (tmp_path / "MODEL_CARD.md").read_text()


def test_a_section_that_occurs_twice_is_not_updated(tmp_path):
    write(tmp_path)
    text = (tmp_path / "README.md").read_text()
    section = text[text.index("<!-- hf_distill:begin limits") : text.index("<!-- hf_distill:metadata")]
    (tmp_path / "README.md").write_text(text.replace(section, section + section))
    (note,) = write(tmp_path)
    assert "the section limits occurs 2 times" in note


def test_bytes_that_are_not_utf8_survive(tmp_path):
    (tmp_path / "README.md").write_bytes("# Modèle\n".encode("latin-1"))
    write(tmp_path, license="mit")
    assert (tmp_path / "README.md").read_bytes() == "---\nlicense: mit\n---\n# Modèle\n".encode("latin-1")


# ---- Metadata ----


def test_metadata_of_the_user_stay_in_their_lines(tmp_path):
    write(tmp_path)
    edit(tmp_path, ("---\n", "---\n# ours\nlanguage: no\nthumbnail:   'a.png'   # small\n"))
    assert write(tmp_path, BETTER) == []
    assert (
        (tmp_path / "README.md").read_text().startswith("---\n# ours\nlanguage: no\nthumbnail:   'a.png'   # small\n")
    )


@pytest.mark.parametrize("value", ["'mit'", None])
def test_a_value_that_the_user_changed_or_removed_is_kept(tmp_path, value):
    write(tmp_path)
    line = "" if value is None else f"base_model: {value}\n"
    edit(tmp_path, ("base_model: google-bert/bert-base-uncased\n", line))
    (note,) = write(tmp_path, changed(student={"origin": "other/model"}))
    assert note == "README.md keeps the edited metadata: base_model."
    assert data_of(tmp_path).get("base_model") == ("mit" if value else None)


def test_a_value_of_hf_distill_follows_the_record_and_goes_with_it(tmp_path):
    write(tmp_path)
    assert write(tmp_path, changed(student={"origin": "other/model"})) == []
    assert data_of(tmp_path)["base_model"] == "other/model"
    write(tmp_path, changed(student={"origin": None}))
    assert not data_of(tmp_path).keys() & {"base_model", "base_model_relation"}


def test_given_metadata_win_and_stay(tmp_path):
    record = changed(student={"origin_license": "apache-2.0"}, teacher={"license": "apache-2.0"})
    write(tmp_path, record)
    assert data_of(tmp_path)["license"] == "apache-2.0"
    write(tmp_path, record, license="mit", language=["en", "de"], tags=["sentiment"])
    for _ in range(2):
        data = data_of(tmp_path)
        assert (data["license"], data["language"], data["tags"][-2:]) == (
            "mit",
            ["en", "de"],
            ["hf_distill", "sentiment"],
        )
        assert write(tmp_path, record) == []


@pytest.mark.parametrize(
    ("origin_license", "teacher_license", "license_name"),
    [
        ("mit", "mit", "mit"),
        ("mit", "apache-2.0", None),
        ("mit", None, None),
        (None, "mit", None),
        ("other", "other", None),
    ],
)
def test_a_license_is_claimed_only_if_all_models_have_it(origin_license, teacher_license, license_name):
    record = changed(student={"origin_license": origin_license}, teacher={"license": teacher_license})
    assert model_card(record).data.license == license_name


def test_a_repository_with_only_a_license_gets_the_card(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: openrail\n---\n")
    assert write(tmp_path) == []
    assert (tmp_path / "README.md").read_text().startswith("---\nlicense: openrail\nbase_model: ")
    assert "## Limits" in (tmp_path / "README.md").read_text()


def test_results_of_the_user_stay_and_scores_of_the_old_weights_go(tmp_path):
    write(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    results = card.data.to_dict()["model-index"][0]["results"]
    mine = {"task": results[0]["task"], "dataset": {"name": "mine", "type": "user/mine"},
            "metrics": [{"type": "accuracy", "value": 0.5}]}  # fmt: skip
    index = yaml.safe_dump({"model-index": [{"name": "x", "results": [*results, mine]}]})
    content = (tmp_path / "README.md").read_text()
    block = content[content.index("model-index:") : content.index("---\n", 4)]
    (tmp_path / "README.md").write_text(content.replace(block, index))
    write(tmp_path, BETTER)
    new = data_of(tmp_path)["model-index"][0]["results"]
    assert [(r["dataset"]["type"], r["metrics"][0]["value"]) for r in new] == [
        ("nyu-mll/glue", 0.92),
        ("user/mine", 0.5),
    ]
    write(tmp_path, changed(dataset={"id": "rows.csv"}))
    assert [result["dataset"]["type"] for result in data_of(tmp_path)["model-index"][0]["results"]] == ["user/mine"]


@pytest.mark.parametrize(
    ("block", "changes", "expected"),
    [
        ("a: 1\nb: 2\n", {"a": 3}, "a: 3\nb: 2\n"),
        ("a: 1\n# about b\nb: 2\n", {"a": None}, "# about b\nb: 2\n"),
        ("a:\n- x\n- y\nb: 2\n", {"a": ["z"]}, "a:\n- z\nb: 2\n"),
        ("{a: 1, b: 2}\n", {"c": 3}, "a: 1\nb: 2\nc: 3\n"),
        ("# only a comment\n", {"a": 1}, "# only a comment\na: 1\n"),
        (None, {"a": "no"}, "a: 'no'\n"),
        ("b: |\n  # text\n  more\na: 1\n", {"a": 2}, "b: |\n  # text\n  more\na: 2\n"),
    ],
)
def test_only_the_lines_of_a_changed_key_change(block, changes, expected):
    changed_card = change_metadata(Card(block, "text"), changes)
    assert changed_card == Card(expected, "text")
    assert split_card(join_card(changed_card)) == changed_card


# ---- The folder and the Hub ----


@pytest.fixture
def cards(tmp_path):
    """A card as it was written, one that was edited, and one that was edited in another way."""
    write(tmp_path)
    plain = (tmp_path / "README.md").read_text()
    return plain, plain.replace("## Limits\n", "## Limits\n\nA\n"), plain.replace("## Limits\n", "## Limits\n\nB\n")


def test_the_edited_version_of_a_card_is_taken(cards):
    plain, edited, other = cards
    assert choose_card(plain, None, False) == plain
    assert choose_card(None, edited, False) == choose_card(None, edited, True) == edited
    assert choose_card(plain, edited, False) == choose_card(plain, edited, True) == edited
    assert choose_card(edited, plain, False) == choose_card(edited, plain, True) == edited
    assert choose_card(edited, other, is_as_pushed=True) == edited  # edited again in the folder since the last push
    with pytest.raises(ValueError, match="was edited in the folder and on the Hub"):
        choose_card(edited, other, is_as_pushed=False)


def test_metadata_that_were_added_in_both_places_are_joined(cards):
    plain, edited, _ = cards
    local, on_hub = plain.replace("---\n", "---\nlicense: mit\n", 1), edited.replace("---\n", "---\nlanguage: en\n", 1)
    chosen = choose_card(local, on_hub, False)
    assert "\n\nA\n" in chosen
    data = ModelCard(chosen).data
    assert (data.language, data.license) == ("en", "mit")
