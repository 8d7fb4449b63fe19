"""The card of a data set that carries a teacher's logits."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.reporting.tables import markdown_table
from hf_distill.reporting.text import escape


def dataset_card(name: str, teacher: Mapping[str, Any], num_rows: Mapping[str, int]) -> DatasetCard:
    """Write the card from what `teacher.json` says.

    Args:
        name: Of the data set.
        teacher: `name_or_path`, `revision`, `dtype` and `max_seq_length` of the teacher's run.
        num_rows: Of every split, which is a Parquet file of its name.
    """
    files = [{"split": split, "path": f"{split}.parquet"} for split in num_rows]
    data = DatasetCardData(
        task_categories=["text-classification"],
        tags=["knowledge-distillation", "hf_distill"],
        configs=[{"config_name": "default", "data_files": files}],
    )
    who = escape(str(teacher.get("name_or_path") or "an unnamed model"))
    if teacher.get("revision"):
        who += f", revision {escape(str(teacher['revision']))}"
    table = markdown_table(["split", "rows"], [[split, f"{rows:,}"] for split, rows in num_rows.items()])
    return DatasetCard(
        f"---\n{data}\n---\n\n# {escape(name)}\n\nTexts with the logits of a teacher ({who}), in the column "
        f"`{TEACHER_LOGITS}` and the order of the classes of `label`, which is null where there is no label. The "
        f"teacher ran in {teacher['dtype']} on at most {teacher['max_seq_length']} tokens of a text.\n\n{table}\n\n"
        "Train a student on it without the teacher:\n\n```bash\nhf-distill train --dataset_name THIS "
        "--student_model_name_or_path STUDENT --output_dir out\n```\n\nThe licences of the texts and of the teacher "
        "may restrict its use.\n"
    )
