"""The recipes of the page on extending do what they say, and leave no trace in the tables of the package."""

import math
from types import SimpleNamespace

import pytest
import torch
from docs_folder import LABELS, reader_values
from pages import run_page
from sample_report import sample_report
from tiny import TINY, sharpen
from transformers import RobertaConfig, RobertaForSequenceClassification

from hf_distill.data.metrics import METRICS
from hf_distill.data.reading import READERS
from hf_distill.reporting.page.plots import PLOTS, inline_svgs
from hf_distill.students.create import CONVERSIONS

pytestmark = pytest.mark.docs

TABLES = (METRICS, READERS, PLOTS, CONVERSIONS)


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    """The variables that the code of the page leaves."""
    folder, before = tmp_path_factory.mktemp("extending"), [dict(table) for table in TABLES]
    config = RobertaConfig(**TINY, num_hidden_layers=4, pad_token_id=0, type_vocab_size=2, **LABELS)
    roberta = RobertaForSequenceClassification(config).eval()
    sharpen(SimpleNamespace(classifier=roberta.classifier.out_proj))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        values = {**reader_values(), "roberta": roberta}
        run_page("docs/extending.md", values)
        yield values
    for table, content in zip(TABLES, before, strict=True):
        table.clear()
        table.update(content)


def test_the_loss_is_the_squared_hellinger_distance(values):
    loss = values["Hellinger"](temperature=1.0)
    uniform, other = torch.zeros(1, 2), torch.tensor([[math.log(9.0), 0.0]])  # 1/2, 1/2 and 9/10, 1/10
    outputs = [SimpleNamespace(logits=logits) for logits in (uniform, other)]
    expected = 1 - (math.sqrt(0.5 * 0.9) + math.sqrt(0.5 * 0.1))
    assert loss(*outputs, None).item() == pytest.approx(expected)
    assert loss(outputs[1], outputs[1], None).item() == pytest.approx(0, abs=1e-6)
    assert "eval_loss_hellinger" in values["trainer"].evaluate(values["train"])


def test_a_bert_of_all_layers_of_a_roberta_has_its_logits(values):
    ids = torch.tensor([[2, 5, 9, 17, 3], [2, 7, 3, 0, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    bert = CONVERSIONS["roberta", "bert"](values["roberta"], range(4))
    assert torch.allclose(bert(**inputs).logits, values["roberta"](**inputs).logits, atol=1e-5)
    assert values["bert_student"].config.num_hidden_layers == 2


def test_the_file_is_read(values):
    rows = values["task"].datasets["train"]
    assert rows["text"] == ["a warm film", "slow, and far too long"]
    assert [values["task"].label_names[label] for label in rows["label"]] == ["positive", "negative"]


def test_the_report_has_the_metric_and_the_plot(values):
    assert values["kappa"].score([0, 0, 1, 1], [0, 0, 1, 0], 2) == pytest.approx(0.5)  # (3/4 - 1/2) / (1 - 1/2)
    assert METRICS["single_label_classification"][-1].name == "kappa"
    assert "parameters" in inline_svgs(sample_report())
