"""A report as one page of HTML that needs nothing else: no script, no font, no URL."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_distill.reporting import formats
from hf_distill.reporting.page.cost_plots import one_text
from hf_distill.reporting.page.palette import css_variables, model_colours
from hf_distill.reporting.page.plots import PLOTS, inline_svgs
from hf_distill.reporting.page.sections import sections
from hf_distill.reporting.page.tables import Cell

if TYPE_CHECKING:
    from jinja2 import Environment

Report = Mapping[str, Any]

_LONGEST_TEXT = 600  # characters shown of a text; the data at the end of the page has all of it
_VERDICTS = {True: ("good", "✓ Yes"), False: ("bad", "✕ No"), None: ("open", "? Not clear")}


def render_html(report: Report) -> str:
    """Write the page.

    Everything that comes from outside (names, labels, texts) is escaped where it stands, and the page forbids itself
    scripts and requests, so that nothing in it could run even then.

    Args:
        report: What `Report.to_dict` gives; the whole of it stands in the page too, as JSON.

    Returns:
        HTML for a screen light or dark, a phone, or paper.

    Raises:
        ValueError: if a number is not finite: JSON has no word for it.
    """
    svgs = inline_svgs(report)
    template = _environment().get_template("report.html.jinja")
    return template.render(
        report=report,
        plots=PLOTS,
        svgs=svgs,
        variables=css_variables(),
        style=(Path(__file__).parent / "report.css").read_text(encoding="utf-8"),
        verdict=_VERDICTS[report["verdict"]["replace"]],
        headline=_headline(report),
        sections=sections(report, svgs),
        texts=_disagreements(report),
        facts=_facts(report),
    )


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # `tojson` escapes <, >, & and ' as well, and whatever is not ASCII.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": False}
    environment.filters.update(line=lambda text: formats.one_line(str(text)), short=formats.short)
    return environment


def _headline(report: Report) -> list[tuple[str, str, str]]:
    """Value, what it is, and its interval, of the model that the verdict is about: what is known of five numbers."""
    name = report["verdict"]["model"]
    if name not in report["models"]:
        return []
    model, metric = report["models"][name], report["task"]["metric_name"]
    cost, fidelity = model["cost"] or {}, model["fidelity"] or {}
    teacher = next(iter(report["models"].values()))
    before, after = ((m["cost"] or {}).get("bytes_on_disk") for m in (teacher, model))
    latency = (one_text(model) or [{}])[0].get("p50_ms")
    agreement = fidelity.get("agreement")
    numbers = [
        (model["retention"], f"of the teacher’s {formats.short(metric, 30)} kept"),
        (model["gap_closed"], "of the gap to the teacher closed"),
        (agreement, "of its answers are the teacher’s"),
    ]
    tiles = [
        (formats.share(e["value"]), what, formats.interval(e, formats.share)) for e, what in numbers if e is not None
    ]
    if cost.get("speedup") is not None:
        tiles.append((formats.times(cost["speedup"]), "as fast on one text", formats.milliseconds(latency)))
    if before and after:
        tiles.append((formats.times(before / after), "smaller on disk", formats.quantity(after, "B")))
    return tiles


def _disagreements(report: Report) -> list[tuple[str, list[Cell]]]:
    """Text, and who said what of it."""
    colours = model_colours(report["models"])
    teacher = next(iter(colours))
    texts = []
    for found in report["disagreements"]:
        answers = [
            Cell(formats.short(found["teacher"], 60), _said("teacher", found["teacher_confidence"]), colours[teacher]),
            Cell(
                formats.short(found["prediction"], 60),
                _said(formats.short(found["model"], 40), found["confidence"]),
                colours.get(found["model"], ""),
            ),
        ]
        if found["label"] is not None:
            answers.insert(0, Cell(formats.short(found["label"], 60), "label"))
        texts.append((formats.short(found["text"], _LONGEST_TEXT), answers))
    return texts


def _said(who: str, confidence: float | None) -> str:
    return who if confidence is None else f"{who}, {formats.share(confidence)} sure"


def _facts(report: Report) -> list[tuple[str, str]]:
    """How it was measured."""
    task, machine = report["task"], report["machine"]
    seeds = "; ".join(f"{name}: {model['num_runs']}" for name, model in report["models"].items())
    origins = "; ".join(f"{name}: {model['origin']}" for name, model in report["models"].items() if model["origin"])
    memory, level = machine["memory_gb"], f"{100 * task['confidence_level']:.0f} %"
    hardware = [
        f"{machine['cores']} cores" if machine["cores"] else "",
        f"{machine['threads']} threads" if machine.get("threads") else "",
        machine["cpu"] or "",
        "" if memory is None else f"{memory:.0f} GB of memory",
        machine["gpu"] or "no GPU",
    ]
    facts = {
        "Task": task["name"],
        "Kind": task["problem_type"].replace("_", " "),
        "Rows": formats.whole(task["rows"]),
        "Text": ", ".join(task["text_columns"]),
        "Intervals": _resampling(task, level),
        "Seeds": seeds,
        "Models": origins,
        "Machine": ", ".join(part for part in hardware if part),
        "Versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        "Date": report["created"],
    }
    return [(name, formats.one_line(str(value))) for name, value in facts.items() if value]


def _resampling(task: Mapping[str, Any], level: str) -> str:
    counts = task["num_resamples_by_metric"]
    fewer = [f"{num:,} for {name}" for name, num in counts.items() if num < task["num_resamples"]]
    return ", ".join([f"{level}, from {task['num_resamples']:,} bootstrap resamples of the rows", *fewer])
