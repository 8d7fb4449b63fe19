"""The transfer set of a command: unlabelled text from several sources, chosen and accounted for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.cli.arguments import DataArguments
from hf_distill.data import (
    find_near_duplicates,
    load_transfer_text,
    mix_sources,
    out_of_domain_share,
    select_by_teacher,
)
from hf_distill.data.transfer import check_has_confidence, has_confidence, logits_column

LARGE_SHARE = 0.25  # out of domain, five times what in-domain text has


@dataclass
class TransferSet:
    """Unlabelled text, and how it was chosen.

    Args:
        text: The text columns, and `teacher_logits` if the sources have it.
        problem_type: Of the teacher.
        min_confidence: The teacher's least confidence; None to take all.
        report: What the record says: `sources` with the `rows` that each holds and those `drawn` from it; how many
            were dropped, by reason; and `rows`, how many are left.
    """

    text: Dataset
    problem_type: ProblemType
    min_confidence: float | None
    report: dict[str, Any]

    def select(self, rows: Dataset, reference: Dataset | None = None) -> Dataset:
        """Drop rows by the teacher's confidence, if that was asked for, and report the out-of-domain share.

        Args:
            rows: The training rows with `teacher_logits`, this transfer set behind the labelled ones.
            reference: Rows to evaluate on, with `teacher_logits`.
        """
        num_labelled = len(rows) - len(self.text)
        labelled, transfer = rows.select(range(num_labelled)), rows.select(range(num_labelled, len(rows)))
        if reference is not None and has_confidence(self.problem_type):
            self.report["out_of_domain_share"] = out_of_domain_share(
                logits_column(transfer), logits_column(reference), self.problem_type
            )
        if self.min_confidence is None:
            return rows
        kept = select_by_teacher(transfer, self.problem_type, min_confidence=self.min_confidence)
        self.report |= {"below_min_confidence": len(transfer) - len(kept), "rows": len(kept)}
        return concatenate_datasets([labelled, kept])

    def summary(self) -> str:
        """Say in a line or two what was taken and what was dropped."""
        report = self.report
        sources = ", ".join(f"{source['name']} {source['drawn']:,}/{source['rows']:,}" for source in report["sources"])
        dropped = [f"{n:,} near-duplicates of {name}" for name, n in report.get("near_duplicates_of", {}).items()]
        dropped += [f"{report['not_drawn']:,} not drawn"] if report["not_drawn"] else []
        if "below_min_confidence" in report:
            dropped += [f"{report['below_min_confidence']:,} with a confidence below {self.min_confidence}"]
        text = f"Transfer set: {report['rows']:,} texts (drawn: {sources}); dropped: {', '.join(dropped) or 'none'}."
        share = report.get("out_of_domain_share")
        if share is not None:
            text += f"\nOut of domain by the teacher's confidence: {share:.1%} (5 % of the evaluation texts would be)."
        if share is not None and share > LARGE_SHARE:
            text += (
                "\nWarning: the teacher is unsure of many of these texts. Use text that is more like the task's, or "
                "drop such texts by --transfer_min_confidence."
            )
        return text


def load_transfer(
    data: DataArguments,
    text_columns: Sequence[str] | None,
    problem_type: ProblemType,
    labelled: Mapping[str, Dataset] | None = None,
) -> TransferSet | None:
    """Load the unlabelled text as the flags say; None if there is none.

    Near-duplicates go first, then texts are drawn, so that the weights hold for what is left and the teacher need not
    run on more texts than are asked for.

    Args:
        data: The flags.
        text_columns: Names that the text columns are to have; None for those of the first source.
        problem_type: Of the teacher.
        labelled: Splits of the task, which hold text that the transfer set should not.
    """
    if data.transfer_min_confidence is not None:
        check_has_confidence(problem_type)
    names = [*data.transfer_files, *data.transfer_dataset_names]
    sources: list[Dataset] = []
    for name in names:
        is_file = len(sources) < len(data.transfer_files)
        file, dataset_name = (name, None) if is_file else (None, name)
        sources.append(load_transfer_text(file, dataset_name, text_columns, are_words=problem_type.is_token_level))
        text_columns = text_columns or [column for column in sources[0].column_names if column != TEACHER_LOGITS]
    if not sources or text_columns is None:
        return None
    report: dict[str, Any] = {
        "sources": [
            {"name": Path(name).absolute().name if Path(name).exists() else name, "rows": len(source)}
            for name, source in zip(names, sources, strict=True)
        ]
    }
    if data.transfer_deduplicate:
        sources, report["near_duplicates_of"] = _without_near_duplicates(sources, text_columns, labelled or {})
    text, drawn = mix_sources(sources, data.weights, data.max_transfer_samples)
    for source, count in zip(report["sources"], drawn, strict=True):
        source["drawn"] = count
    report |= {"not_drawn": sum(map(len, sources)) - len(text), "rows": len(text)}
    return TransferSet(text, problem_type, data.transfer_min_confidence, report)


def _without_near_duplicates(
    sources: Sequence[Dataset], text_columns: Sequence[str], labelled: Mapping[str, Dataset]
) -> tuple[list[Dataset], dict[str, int]]:
    """Return what is left of each source, and how many texts were near-duplicates of what."""
    # What to evaluate on first: a text that is there and among the labelled ones, too, is counted as a leak.
    by_danger = dict(sorted(labelled.items(), key=lambda split: split[0] == "train"))
    whole = concatenate_datasets([source.select_columns(list(text_columns)) for source in sources])
    found = find_near_duplicates(whole, text_columns, against=by_danger)
    parts = np.split([name is None for name in found], np.cumsum([len(source) for source in sources])[:-1])
    kept = [source.select(np.flatnonzero(part)) for source, part in zip(sources, parts, strict=True)]
    return kept, dict(Counter(filter(None, found)))
