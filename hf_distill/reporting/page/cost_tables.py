"""The tables of `report.html` about size and time."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.page.tables import Cell, Table, name_cell, without_empty_columns
from hf_distill.reporting.text import HTML, NOT_AVAILABLE, short, text_length, three_digits


def cost_table(report: Mapping[str, Any]) -> Table | None:
    """Return size, computation and memory."""
    rows = []
    for name, model in report["models"].items():
        if cost := model["cost"]:
            without = cost["num_parameters_without_embeddings"]
            note = "" if without is None else f"{HTML.quantity(without)} without embeddings"
            parameters = Cell(HTML.quantity(cost["num_parameters"]), note)
            others = [("bytes_on_disk", "B"), ("flops_per_example", "FLOP"), ("peak_memory_bytes", "B")]
            cells = [Cell(HTML.quantity(cost[key], unit)) for key, unit in others]
            rows.append([name_cell(report, name), parameters, *cells])
    header = ["model", "parameters", "on disk", "computation for one text", "peak memory"]
    header, rows = without_empty_columns(header, rows)
    return Table("Size, computation and memory", header, rows) if len(header) > 1 and rows else None


def speed_table(report: Mapping[str, Any]) -> Table | None:
    """Return latency and throughput, with a column for each device, length and batch size."""
    models = {name: model["cost"] for name, model in report["models"].items() if model["cost"]}
    columns: dict[tuple[Any, ...], dict[str, Cell]] = {}
    for name, cost in models.items():
        for e in cost["latency"] or []:
            ends_at = [(95, e["p95_ms"]), *([(99, e["p99_ms"])] if e["p99_ms"] is not None else [])]
            note = "\n".join(f"{share}{HTML.space}% within {HTML.milliseconds(value)}" for share, value in ends_at)
            cell = Cell(HTML.milliseconds(e["p50_ms"]), note)
            columns.setdefault((e["device"], e["tokens"], e["batch_size"]), {})[name] = cell
        for e in cost["throughput"] or []:
            cell = Cell(f"{three_digits(e['examples_per_second'])}{HTML.space}texts/s")
            columns.setdefault((e["device"], e["tokens"], e["batch_size"]), {}).setdefault(name, cell)
    header = [f"{short(device, 20)}, {text_length(tokens)}, batch {size}" for device, tokens, size in columns]
    rows = [
        [name_cell(report, name), *(c.get(name, Cell(NOT_AVAILABLE)) for c in columns.values())] for name in models
    ]
    return Table("Speed", ["model", *header], rows) if columns else None
