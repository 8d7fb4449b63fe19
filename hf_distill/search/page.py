"""The result of a search as one self-contained page of HTML: no script, no font and no URL."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hf_distill.record import describe_versions
from hf_distill.reporting.page.html import make_environment
from hf_distill.reporting.text import HTML
from hf_distill.search.finalists import describe_certainty
from hf_distill.search.plots import COST_PLOTS

_DIGITS = 4


class Table(NamedTuple):
    """A table of texts."""

    caption: str
    header: list[str]
    rows: list[list[str]]


def render_page(content: Mapping[str, Any], svgs: Mapping[str, str]) -> str:
    """Return the page. Every name is escaped, and the page forbids itself scripts and requests.

    Args:
        content: The content of `search.json`.
        svgs: Name of a plot -> SVG, see [`~hf_distill.search.plots.save_plots`].
    """
    is_good = "winner" in content and content["finalists"][0]["margin"] >= 0
    return (
        make_environment(Path(__file__).parent)
        .get_template("search.html.jinja")
        .render(
            content=content,
            tone="good" if is_good else "bad",
            badge="✓ Yes" if is_good else "✕ No",
            sentence=_sentence(content),
            tiles=_tiles(content),
            svgs=svgs,
            titles={name: title for name, (_, title, _) in COST_PLOTS.items()},
            tables=[table for table in (_finalists(content), _trials(content), _importances(content)) if table.rows],
            facts=_facts(content),
        )
    )


def _sentence(content: Mapping[str, Any]) -> str:
    if "winner" not in content:
        return "No trial meets the requirements on quality. The table shows how close the trials came."
    winner, finalist = content["winner"], content["finalists"][0]
    certainty = describe_certainty(finalist["margin"], finalist["margin_bound"])
    sentence = f"On the validation rows, {winner['architecture']} {certainty}."
    if content["test"] is None:
        return f"{sentence} It was not judged on test rows."
    unmet = [result["text"] for result in content["test"]["requirements"] if not result["is_met"]]
    result = f"it misses {', '.join(unmet)}" if unmet else "it meets them, too"
    return f"{sentence} On {content['test']['rows']:,} test rows that the search has not seen, {result}."


def _tiles(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "winner" not in content:
        return []
    metric, teacher = content["metric_name"], content["teacher"]
    cost = content["architectures"][content["winner"]["architecture"]]
    values = [run[metric] for run in content["finalists"][0]["values"]]
    tiles = [
        (HTML.times(teacher["latency_p50_ms"] / cost["latency_p50_ms"]), "as fast on one text"),
        (HTML.times(teacher["size_mb"] / cost["size_mb"]), "smaller on disk"),
    ]
    if teacher[metric] > 0:
        kept = sum(values) / len(values) / teacher[metric]
        tiles.insert(0, (HTML.share(kept), f"of the teacher’s {metric} kept on validation rows"))
    return tiles


def _finalists(content: Mapping[str, Any]) -> Table:
    metric = content["metric_name"]
    rows = [
        [
            f"trial {entry['trial']}",
            entry["architecture"],
            ", ".join(_show(run[metric]) for run in entry["values"]),
            f"{entry['margin_bound']:+.4f}",
            ", ".join(f"{name} {_show(value)}" for name, value in entry["flags"].items()),
        ]
        for entry in content["finalists"]
    ]
    header = ["Finalist", "Architecture", f"{metric} of each seed", "Lower bound of the margin", "Settings"]
    return Table("Finalists, trained with three new seeds; the winner first", header, rows)


def _trials(content: Mapping[str, Any]) -> Table:
    names = list(dict.fromkeys(name for trial in content["trials"] for name in trial))
    rows = [[_show(trial.get(name)) for name in names] for trial in content["trials"]]
    return Table("All trials", [name.replace("_", " ") for name in names], rows)


def _importances(content: Mapping[str, Any]) -> Table:
    rows = [[name.replace("_", " "), HTML.share(share)] for name, share in content["importances"].items()]
    return Table("Share of each setting in the variance of the results (fANOVA)", ["Setting", "Share"], rows)


def _facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    machine, trials = content["machine"], content["trials"]
    stopped = sum(trial["state"] == "stopped" for trial in trials)
    hardware = [f"{machine['cores']} cores", f"{machine['threads']} threads", machine["cpu"] or ""]
    return [
        ("Trials", f"{len(trials)}, of which {stopped} were stopped early"),
        ("Seconds", ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in content["seconds"].items())),
        ("Rows", f"{content['validation_rows']:,} validation rows"),
        ("Space", "; ".join(f"{key}: {values}" for key, values in content["space"].items())),
        ("Machine", ", ".join(part for part in hardware if part)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in describe_versions().items())),
    ]


def _show(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)
