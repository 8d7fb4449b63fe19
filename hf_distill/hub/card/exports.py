"""The section of the model card on the exports of a student, with code to run them without torch."""

import json
from collections.abc import Mapping
from typing import Any

from hf_distill.hub.card.words import KINDS, as_text, reads_pairs
from hf_distill.reporting.markdown import markdown_table
from hf_distill.reporting.text import NOT_AVAILABLE, PLAIN, is_share

_LEFT_OUT = ("units", "decisions", "max_abs_logit", "tolerance")  # `export.json` has them
_DTYPES = {"float32": "fp32", "float16": "fp16", "int8": "q8"}  # names of the variants in Transformers.js


def exports_section(record: Mapping[str, Any], export: Mapping[str, Any]) -> str:
    """Return a table with a column for each variant, and code for Python and JavaScript.

    Args:
        record: The record of the student.
        export: The content of `export.json` at the root of the repository.
    """
    variants = export["variants"]
    columns = {
        name: {"file": as_text(about["file"]), **_parity(about.get("parity") or {})}
        for name, about in variants.items()
    }
    measures = dict.fromkeys(measure for column in columns.values() for measure in column)
    rows = [[measure, *(column.get(measure, NOT_AVAILABLE) for column in columns.values())] for measure in measures]
    variant = "int8" if "int8" in variants else next(iter(variants))
    parts = [
        "## Exports",
        "`onnx/` has the same student for other runtimes. The table compares its answers with the weights above.",
        markdown_table(["variant", *columns], rows),
        "In Python without torch:",
        _python(record, variant),
        *(["In JavaScript, in a browser or in Node:", _javascript(record, variant)] if variant in _DTYPES else []),
    ]
    return "\n\n".join(parts)


def _parity(parity: Mapping[str, Any]) -> dict[str, str]:
    """Return name of a number -> its text."""
    scalars = {key: value for key, value in parity.items() if _is_scalar(value) and key not in _LEFT_OUT}
    metrics = parity.get("metrics") or {"model": {}, "export": {}}
    return {key.replace("_", " "): _show(key, value) for key, value in scalars.items()} | {
        metric: f"{_show(metric, metrics['export'][metric])} (model: {_show(metric, value)})"
        for metric, value in metrics["model"].items()
    }


def _python(record: Mapping[str, Any], variant: str) -> str:
    name = json.dumps(record["student"]["name"])
    text = '("The first text.", "The second text.")' if reads_pairs(record) else '"A text like the training data."'
    return (
        "```python\nfrom huggingface_hub import snapshot_download\nfrom hf_distill import Predictor\n\n"
        f'folder = snapshot_download({name}, allow_patterns=["*.json", "onnx/*"])\n'
        f"predictor = Predictor(folder, {json.dumps(variant)})\npredictor([{text}])\n```"
    )


def _javascript(record: Mapping[str, Any], variant: str) -> str:
    name, task = json.dumps(record["student"]["name"]), KINDS[record["problem_type"]].task
    options = f'{{ dtype: "{_DTYPES[variant]}" }}'
    if not reads_pairs(record):
        return (
            '```js\nimport { pipeline } from "@huggingface/transformers";\n\n'
            f'const classifier = await pipeline("{task}", {name}, {options});\n'
            'await classifier("A text like the training data.");\n```'
        )
    return (
        '```js\nimport { AutoModelForSequenceClassification, AutoTokenizer } from "@huggingface/transformers";\n\n'
        f"const tokenizer = await AutoTokenizer.from_pretrained({name});\n"
        f"const model = await AutoModelForSequenceClassification.from_pretrained({name}, {options});\n"
        'const { logits } = await model(tokenizer("The first text.", { text_pair: "The second text." }));\n```'
    )


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _show(name: str, value: Any) -> str:
    if isinstance(value, float) and (name == "agreement" or is_share(name)):
        return PLAIN.share(value)
    return f"{value:.4g}" if isinstance(value, float) else as_text(value)
