"""The transfer set of a run: unlabelled text from several sources, selected, with a report of what was dropped."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.data import (
    find_near_duplicates,
    hold_out_texts,
    mix_sources,
    out_of_domain_share,
    select_by_teacher,
)
from hf_distill.data.contradictions import text_keys, texts_in_common
from hf_distill.data.reading import ReadOptions
from hf_distill.data.seen_rows import MOST_TRAINED
from hf_distill.data.summary import DataSummary
from hf_distill.data.table import counted
from hf_distill.data.transfer import check_has_confidence, has_confidence, logits_column
from hf_distill.data.transfer_text import read_transfer_text

LARGE_SHARE = 0.25  # five times the share that in-domain text has


@dataclass(frozen=True)
class TransferOptions:
    """Where unlabelled text comes from, and which of it to use.

    Args:
        files: Files of unlabelled text.
        dataset_names: Datasets of unlabelled text, on the Hub or in folders; their split `train` is used.
        weights: Share of each source, files first, > 0, in any unit; None to use all texts.
        max_samples: Number of texts to draw at random, at least 1; None for all, or for as many as `weights` allow.
        deduplicate: Whether to drop near-duplicates of labelled texts, of evaluation texts and of earlier texts.
        min_confidence: Lowest confidence of the teacher, between 0 and 1, with which a text is used; None for all.
        reading: How text files are read.
        text_column_delimiter: The text between text columns that are joined; None for a blank.
        notes: Notes on how the files were found.
    """

    files: Sequence[str] = ()
    dataset_names: Sequence[str] = ()
    weights: Sequence[float] | None = None
    max_samples: int | None = None
    deduplicate: bool = False
    min_confidence: float | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    text_column_delimiter: str | None = None
    notes: Sequence[str] = ()


@dataclass
class TransferSet:
    """Unlabelled text, and how it was selected.

    Args:
        text: The text columns, and `teacher_logits` if the sources have it.
        problem_type: The teacher's problem type.
        min_confidence: Lowest confidence of the teacher with which a text is used; None for all texts.
        report: For the record of the run: `sources`, each with its `rows` and how many of them were `drawn`; the
            number of dropped texts for each reason; and `rows`, the number of texts that are left.
        data: What was read from each source.
        teacher_answers: What the teacher answered to each text, as labels; None before it labelled them.
        source_rows: Index of the training row from which each of the last texts was varied; None without variants.
    """

    text: Dataset
    problem_type: ProblemType
    min_confidence: float | None
    report: dict[str, Any]
    data: DataSummary = field(default_factory=DataSummary)
    teacher_answers: np.ndarray | None = None
    source_rows: np.ndarray | None = None

    def select(self, rows: Dataset, reference: Dataset | None = None) -> Dataset:
        """Drop texts on which the teacher's confidence is too low, and add the out-of-domain share to the report.

        `teacher_answers` is set for all texts, also for the dropped ones.

        Args:
            rows: The training rows with `teacher_logits`: the labelled rows, then this transfer set.
            reference: Rows to evaluate on, with `teacher_logits`. Without them no share is reported.

        Returns:
            The labelled rows, then the texts that are left.

        Raises:
            ValueError: if no text is left.
        """
        num_labelled = len(rows) - len(self.text)
        labelled, transfer = rows.select(range(num_labelled)), rows.select(range(num_labelled, len(rows)))
        if reference is not None and has_confidence(self.problem_type):
            self.report["out_of_domain_share"] = out_of_domain_share(
                logits_column(transfer), logits_column(reference), self.problem_type
            )
        if not self.problem_type.is_token_level:
            self.teacher_answers = _as_labels(logits_column(transfer), self.problem_type)
            self._compare_variants(labelled)
        if self.min_confidence is None:
            return rows
        confident = select_by_teacher(transfer, self.problem_type, min_confidence=self.min_confidence)
        self.report |= {"below_min_confidence": len(transfer) - len(confident), "rows": len(confident)}
        return concatenate_datasets([labelled, confident])

    def _compare_variants(self, labelled: Dataset) -> None:
        """Report how many variants the teacher answers as it answers the original, a row of `labelled`."""
        if self.source_rows is not None and self.teacher_answers is not None and self.problem_type.has_temperature:
            answers = _as_labels(logits_column(labelled), self.problem_type)
            is_same = self.teacher_answers[-len(self.source_rows) :] == answers[self.source_rows]
            share = is_same.reshape(len(is_same), -1).all(axis=1).mean()
            self.report["augmentation"]["same_answer"] = float(share)

    def hold_out(self) -> Dataset:
        """Take the texts out of the transfer set that models are compared on if no row has a label."""
        self.text, held_out = hold_out_texts(self.text, [c for c in self.text.column_names if c != TEACHER_LOGITS])
        self.report |= {"held_out": len(held_out), "rows": len(self.text)}
        return held_out

    def summary(self) -> str:
        """Return a few lines: how many texts are used, how many were dropped and why."""
        report = self.report
        sources = [f"{source['drawn']:,} of {source['rows']:,} from {source['name']}" for source in report["sources"]]
        if augmentation := report.get("augmentation"):
            methods = ", ".join(augmentation["methods"])
            sources.append(f"{augmentation['variants']:,} variants of the labelled texts by {methods}")
        dropped = [f"{n:,} near-duplicates of {name}" for name, n in report.get("near_duplicates_of", {}).items()]
        if augmentation:
            equal, near = augmentation["asked"] - augmentation["made"], augmentation["near_duplicates_of"]
            dropped += [f"{equal:,} variants that repeat a text"] if equal else []
            dropped += [f"{n:,} variants that are near-duplicates of {name}" for name, n in near.items()]
        dropped += [f"{report['not_drawn']:,} not drawn"] if report["not_drawn"] else []
        if "below_min_confidence" in report:
            dropped += [f"{report['below_min_confidence']:,} with a confidence below {self.min_confidence}"]
        text = (
            f"Transfer set: {report['rows']:,} texts ({', '.join(sources)}). Dropped: {', '.join(dropped) or 'none'}."
        )
        if "held_out" in report:
            text += (
                f"\nNo row has a label. {report['held_out']:,} more texts are held out to measure how often the "
                "student agrees with its teacher."
            )
        share = report.get("out_of_domain_share")
        if augmentation and "same_answer" in augmentation:
            same = augmentation["same_answer"]
            text += f"\nThe teacher gives {same:.1%} of the variants the answer that it gives the original."
        if share is not None:
            text += f"\nOut of domain by the teacher's confidence: {share:.1%} (5 % of the evaluation texts would be)."
        if share is not None and share > LARGE_SHARE:
            text += (
                "\nWarning: the teacher is unsure about many of these texts. Use text that is closer to the task, or "
                "drop such texts with --transfer_min_confidence."
            )
        return text


def _as_labels(logits: np.ndarray, problem_type: ProblemType) -> np.ndarray:
    """Return the decisions that logits stand for, in the form of labels."""
    if problem_type.is_exclusive:
        return logits.argmax(axis=-1)
    return (logits > 0).astype(np.float32) if problem_type.has_temperature else logits.squeeze(-1)


def load_transfer(
    options: TransferOptions,
    text_columns: Sequence[str] | None,
    problem_type: ProblemType,
    labelled: Mapping[str, Dataset] | None = None,
) -> TransferSet | None:
    """Load unlabelled text, drop near-duplicates, and draw a number of texts.

    Near-duplicates are dropped before texts are drawn. So the weights hold for the texts that are used, and the
    teacher runs only on these.

    Args:
        options: The sources and which texts to use.
        text_columns: Names that the text columns get; None for the names in the first source.
        problem_type: The teacher's problem type.
        labelled: Splits of the task, whose texts the transfer set should not contain.

    Returns:
        The transfer set; None if `options` names no source.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if a source cannot be read, if the sources have different columns, if the weights do not match the
            sources, or if `min_confidence` is set for a problem type that has no confidence.
    """
    if options.min_confidence is not None:
        check_has_confidence(problem_type)
    names = [*options.files, *options.dataset_names]
    sources: list[Dataset] = []
    data = DataSummary(notes=list(options.notes))
    for name in names:
        is_file = len(sources) < len(options.files)
        dataset, summary = read_transfer_text(
            name if is_file else None,
            None if is_file else name,
            text_columns,
            are_words=problem_type.is_token_level,
            options=options.reading,
            text_column_delimiter=options.text_column_delimiter,
        )
        sources.append(dataset)
        summary.role = "transfer" if len(names) == 1 else f"transfer {len(sources)}"
        data.splits.append(summary)
        if len(sources) == 1:  # with joined columns, these are other names than the ones that the user gave
            text_columns = [column for column in dataset.column_names if column != TEACHER_LOGITS]
    if not sources or text_columns is None:
        return None
    report: dict[str, Any] = {
        "sources": [
            {"name": Path(name).absolute().name if Path(name).exists() else name, "rows": len(source)}
            for name, source in zip(names, sources, strict=True)
        ]
    }
    if options.deduplicate:
        sources, report["near_duplicates_of"] = _drop_near_duplicates(sources, text_columns, labelled or {})
    text, drawn = mix_sources(sources, options.weights, options.max_samples)
    for source, count in zip(report["sources"], drawn, strict=True):
        source["drawn"] = count
    report |= {"not_drawn": sum(map(len, sources)) - len(text), "rows": len(text)}
    _report_evaluation_texts(data, text, text_columns, labelled or {})
    return TransferSet(text, problem_type, options.min_confidence, report, data)


def _report_evaluation_texts(
    data: DataSummary, text: Dataset, text_columns: Sequence[str], splits: Mapping[str, Dataset]
) -> None:
    """Report how many texts to evaluate on the student is trained on, with the teacher's answers."""
    keys = text_keys(text, text_columns)
    for split, dataset in splits.items():
        shared = 0 if split == "train" else texts_in_common(text_keys(dataset, text_columns), keys)
        if not shared:
            continue
        are = "is" if shared == 1 else "are"
        number = f"{shared:,} of the {counted(len(dataset), f'{split} text')} {are} in the unlabelled text"
        if shared > MOST_TRAINED * len(dataset):
            data.warnings.append(
                f"{number}, so the student learns the teacher's answers to them, and its "
                "scores on them are too good. Drop them with --transfer_deduplicate."
            )
        else:
            data.notes.append(f"{number}; --transfer_deduplicate drops them")


def _drop_near_duplicates(
    sources: Sequence[Dataset], text_columns: Sequence[str], labelled: Mapping[str, Dataset]
) -> tuple[list[Dataset], dict[str, int]]:
    """Return the texts of each source that are left, and the number of near-duplicates of each split."""
    # Evaluation splits come first: a text that is in one of them and in the training split is counted as a leak.
    splits = dict(sorted(labelled.items(), key=lambda split: split[0] == "train"))
    all_texts = concatenate_datasets([source.select_columns(list(text_columns)) for source in sources])
    duplicate_of = find_near_duplicates(all_texts, text_columns, against=splits)
    is_kept = np.split([name is None for name in duplicate_of], np.cumsum([len(source) for source in sources])[:-1])
    kept = [source.select(np.flatnonzero(part)) for source, part in zip(sources, is_kept, strict=True)]
    return kept, dict(Counter(filter(None, duplicate_of)))
