"""A report as one self-contained page of HTML: no script, no font and no URL."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_distill.data.table import counted
from hf_distill.reporting.next_step import describe_next_step
from hf_distill.reporting.page.cost_plots import single_text_latencies
from hf_distill.reporting.page.palette import css_variables, model_colors
from hf_distill.reporting.page.plots import PLOTS, inline_svgs
from hf_distill.reporting.page.sections import sections
from hf_distill.reporting.page.tables import Cell
from hf_distill.reporting.probabilities import describe_probabilities
from hf_distill.reporting.text import HTML, describe_machine, is_clear_gap, is_error, short, typeset, whole

if TYPE_CHECKING:
    from jinja2 import Environment

Report = Mapping[str, Any]

_LONGEST_TEXT = 600  # characters of a text that are shown; the data at the end of the page have the whole text
_NUM_TEXTS = 5  # texts of disagreement that are shown at first; the others are folded
_UNNAMED = "data"  # the name that `compare_models` gives to rows without a name
_VERDICTS = {True: ("good", "✓ Yes"), False: ("bad", "✕ No"), None: ("open", "? Not shown")}


def render_html(report: Report) -> str:
    """Return the page with the plots that the report has numbers for; see [`render_page`]."""
    return render_page(report, inline_svgs(report))


def render_page(report: Report, svgs: Mapping[str, str]) -> str:
    """Return the page.

    Every string from outside (names, labels, texts) is escaped where it is inserted. In addition the page forbids
    itself scripts and requests, so that nothing in it could run even if a string were not escaped.

    Args:
        report: What `Report.to_dict` returns. The page contains all of it as JSON.
        svgs: Name of a plot -> its `<svg>`.

    Returns:
        HTML for light and dark screens, phones and paper.

    Raises:
        ValueError: if a number is not finite, because JSON cannot represent it.
    """
    template = make_environment(Path(__file__).parent).get_template("report.html.jinja")
    return template.render(
        report=report,
        title=_title(report["task"]),
        plots=PLOTS,
        captions=_captions(report["task"]["metric_name"]),
        svgs=svgs,
        verdict=_VERDICTS[report["verdict"]["replace"]],
        notes=[note for note in (*report["notes"], describe_probabilities(report)) if note],
        headline=_headline(report),
        next_step=describe_next_step(report),
        sections=sections(report, svgs),
        texts=_disagreements(report)[:_NUM_TEXTS],
        more_texts=_disagreements(report)[_NUM_TEXTS:],
        facts=_facts(report),
    )


def make_environment(folder: Path) -> "Environment":
    """Return how the templates of a folder are rendered: names are escaped, and a missing value is an error.

    All pages have the same style: `variables` and `style` are the CSS.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # `tojson` also escapes <, >, & and ', and every character that is not ASCII.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": False}
    environment.filters.update(short=short, typeset=typeset)
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    environment.globals.update(variables=css_variables(), style=style)
    return environment


def _title(task: Mapping[str, Any]) -> str:
    """Return the name of the rows, or their number if they have no name."""
    return f"Comparison on {counted(task['rows'], 'row')}" if task["name"] == _UNNAMED else short(task["name"], 80)


def _captions(metric: str) -> dict[str, str]:
    """Return the caption of each plot. Of two scores the lower one is better if they are errors."""
    is_low_best = is_error(metric)
    return {
        name: plot.caption.replace("Upper left", "Lower left") if is_low_best else plot.caption
        for name, plot in PLOTS.items()
    }


def _headline(report: Report) -> list[tuple[str, str, str]]:
    """Return up to five tiles about the model of the verdict: a value, what it is, and its interval."""
    name = report["verdict"]["model"]
    if name not in report["models"]:
        return []
    model, metric = report["models"][name], report["task"]["metric_name"]
    cost, fidelity = model["cost"] or {}, model["fidelity"] or {}
    teacher = next(iter(report["models"].values()))
    teacher_size, size = ((m["cost"] or {}).get("bytes_on_disk") for m in (teacher, model))
    latency = (single_text_latencies(model) or [{}])[0].get("p50_ms")
    estimates = [
        (model["retention"], f"of the teacher’s {short(metric, 30)} kept"),
        (model["gap_closed"] if is_clear_gap(model["gap_closed"]) else None, "of the gap to the teacher closed"),
        (fidelity.get("agreement"), "of its answers equal the teacher’s"),
    ]
    tiles = [(HTML.share(e["value"]), what, HTML.interval(e, HTML.share)) for e, what in estimates if e is not None]
    if model["gap_closed"] is not None and not is_clear_gap(model["gap_closed"]):
        tiles.insert(1, _small_gap(report, metric))
    if cost.get("speedup") is not None and not report["machine"]["is_busy"]:
        tiles.append((HTML.times(cost["speedup"]), "as fast on one text", HTML.milliseconds(latency)))
    if teacher_size and size:
        tiles.append((HTML.times(teacher_size / size), "smaller on disk", HTML.quantity(size, "B")))
    return tiles


def _small_gap(report: Report, metric: str) -> tuple[str, str, str]:
    """Return the tile about a gap that is too small to say how much of it is closed."""
    scores = {model["role"]: model["metrics"][metric]["value"] for model in report["models"].values()}
    gap = HTML.margin(scores["teacher"] - scores["baseline"], metric)
    return gap, "between teacher and baseline", "too little to say how much of it is closed"


def _disagreements(report: Report) -> list[tuple[str, list[Cell]]]:
    """Return each text with the answers to it."""
    colors = model_colors(report["models"])
    teacher = next(iter(colors))
    texts = []
    for entry in report["disagreements"]:
        model_note = _with_confidence(short(entry["model"], 40), entry["confidence"])
        answers = [
            Cell(
                short(entry["teacher"], 60), _with_confidence("teacher", entry["teacher_confidence"]), colors[teacher]
            ),
            Cell(short(entry["prediction"], 60), model_note, colors.get(entry["model"], "")),
        ]
        if entry["label"] is not None:
            answers.insert(0, Cell(short(entry["label"], 60), "label"))
        texts.append((short(entry["text"], _LONGEST_TEXT), answers))
    return texts


def _with_confidence(name: str, confidence: float | None) -> str:
    return name if confidence is None else f"{name}, confidence {HTML.share(confidence)}"


def _facts(report: Report) -> list[tuple[str, str]]:
    """Return how the report was measured, as pairs of a name and a text."""
    task = report["task"]
    facts = {
        "Task": task["name"],
        "Problem type": task["problem_type"].replace("_", " "),
        "Rows": whole(task["rows"]),
        "Text": ", ".join(task["text_columns"]),
        "Intervals": _resampling(task),
        "Runs": "; ".join(f"{name}: {model['num_runs']}" for name, model in report["models"].items()),
        "Models": "; ".join(
            f"{name}: {model['origin']}" for name, model in report["models"].items() if model["origin"]
        ),
        "Machine": describe_machine(report["machine"]),
        "Versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        "Date": report["created"],
    }
    return [(name, typeset(str(value))) for name, value in facts.items() if value]


def _resampling(task: Mapping[str, Any]) -> str:
    counts = task["num_resamples_by_metric"]
    fewer = [f"{num:,} for {name}" for name, num in counts.items() if num < task["num_resamples"]]
    resamples = f"{task['num_resamples']:,} bootstrap resamples of the rows"
    return ", ".join([f"{100 * task['confidence_level']:.0f} %, from {resamples}", *fewer])
