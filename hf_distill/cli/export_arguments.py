"""Flags of `hf-distill export` beside the flags of how files are read."""

import os
from dataclasses import dataclass, field

from hf_distill.cli.reading_arguments import ReadingArguments


@dataclass
class ExportArguments:
    """The model, the output folder, and how to check the export."""

    model_name_or_path: str = field(
        metadata={"help": "Path or Hub id of the classifier, e.g. a student, or user/name@revision."}
    )
    output_dir: str = field(
        metadata={
            "help": "Folder for tokenizer, labels and onnx/. An export of the same model in it gets a new variant."
        }
    )
    quantize: str | None = field(
        default=None,
        metadata={"help": "int8: weights take a quarter of the space. Unset: float32.", "choices": ["int8"]},
    )
    dtype: str = field(
        default="float32",
        metadata={
            "help": "float16: half of the space, for GPUs. CPUs run it no faster.",
            "choices": ["float32", "float16"],
        },
    )
    max_seq_length: int | None = field(
        default=None,
        metadata={"help": "Cut texts after this number of tokens. Unset: the largest number that the model takes."},
    )
    text_file: str | None = field(
        default=None,
        metadata={
            "help": "File of texts on which export and model are compared: .txt (one text per line), CSV, TSV, JSON "
            "or Parquet. Unset: random token ids."
        },
    )
    max_eval_samples: int | None = field(default=None, metadata={"help": "Compare on the first N texts only."})
    trust_remote_code: bool = field(
        default=False, metadata={"help": "Run Python files that come with the model. Set it only if you trust them."}
    )
    tolerance: float | None = field(
        default=None,
        metadata={
            "help": "Largest difference between export and model. For float32 and float16, max |Δlogit| / max(1, max "
            "|logit|); unset: 1e-3 and 2e-2. For int8, the share of decisions that differ; unset: 0.05."
        },
    )
    report: str | None = field(
        default=None,
        metadata={
            "help": "report.json of hf-distill compare. The threshold that it certifies for this model goes into "
            "export.json, for Predictor(folder, defer_below='certified')."
        },
    )

    def __post_init__(self) -> None:
        self.output_dir = os.path.expanduser(self.output_dir)

    def check(self, reading: ReadingArguments) -> None:
        """Raise an error for flags about texts without texts."""
        given = {**vars(reading), "max_eval_samples": self.max_eval_samples}
        needing_file = [f"--{name}" for name, value in given.items() if value is not None]
        if self.text_file is None and needing_file:
            verb = "needs" if len(needing_file) == 1 else "need"
            raise ValueError(f"{', '.join(needing_file)} {verb} --text_file.")
