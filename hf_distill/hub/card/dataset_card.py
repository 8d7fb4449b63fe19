"""The card of a dataset with a teacher's logits."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.hub.card.words import label
from hf_distill.reporting.markdown import markdown_table
from hf_distill.reporting.text import escape


def dataset_card(name: str, teacher: Mapping[str, Any], num_rows: Mapping[str, int]) -> DatasetCard:
    """Write the card of a dataset.

    Args:
        name: Name of the dataset.
        teacher: The content of `teacher.json`: `name_or_path`, `revision`, `dtype` and `max_seq_length`.
        num_rows: Name of a split -> number of rows. Each split is a Parquet file of that name.
    """
    files = [{"split": split, "path": f"{split}.parquet"} for split in num_rows]
    data = DatasetCardData(
        task_categories=["text-classification"],
        tags=["knowledge-distillation", "hf_distill"],
        configs=[{"config_name": "default", "data_files": files}],
    )
    teacher_name = escape(label(teacher.get("name_or_path")) or "an unnamed model")
    if teacher.get("revision"):
        teacher_name += f", revision {escape(str(teacher['revision']))}"
    table = markdown_table(["split", "rows"], [[split, f"{rows:,}"] for split, rows in num_rows.items()])
    return DatasetCard(
        f"---\n{data}\n---\n\n# {escape(name)}\n\nTexts with the logits of a teacher ({teacher_name}). The column "
        f"`{TEACHER_LOGITS}` has the logits in the order of the classes of `label`; `label` is null for a row without "
        f"a label. The teacher ran in {teacher['dtype']} on at most {teacher['max_seq_length']} tokens of each text."
        f"\n\n{table}\n\nTrain a student on this dataset without the teacher:\n\n```bash\nhf-distill train "
        "--dataset_name THIS --student_model_name_or_path STUDENT --output_dir out\n```\n\nThe licenses of the texts "
        "and of the teacher may restrict the use of this dataset.\n"
    )
