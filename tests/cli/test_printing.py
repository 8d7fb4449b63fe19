"""Which progress bars a command shows."""

import time

from datasets import Dataset
from datasets.utils import tqdm

from hf_distill.cli import printing
from hf_distill.cli.printing import delayed_bars


def test_short_bars_of_datasets_are_hidden_in_a_command_and_shown_after_it(capsys):
    rows = Dataset.from_dict({"number": list(range(10))})

    @delayed_bars()
    def command():
        rows.map(lambda row: row, desc="Short")
        rows.select([3, 1]).flatten_indices()
        with tqdm(total=2, desc="Renamed") as bar:
            bar.set_description("Another name")
            bar.update(2)

    for _ in range(2):
        command()
        assert capsys.readouterr().err == ""
    rows.map(lambda row: {**row, "other": 1}, desc="Of the user")
    assert "Of the user" in capsys.readouterr().err


def test_bars_of_longer_work_are_shown_and_end_their_line(capsys, monkeypatch):
    monkeypatch.setattr(printing, "DELAY", 0.1)
    with delayed_bars():
        for _ in tqdm(range(5), desc="Long", mininterval=0):
            time.sleep(0.1)
    shown = capsys.readouterr().err
    assert "Long:   0%" not in shown
    assert "Long: 100%" in shown
    assert shown.endswith("\n")
