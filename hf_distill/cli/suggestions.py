"""The flags that a person most likely meant by a flag that does not exist."""

import difflib
from collections.abc import Collection

# What people type -> the flags of this program; a command suggests those that it has.
_SYNONYMS = {
    "alpha": ("hard_label_weight", "soft_label_weight"),
    "batch_size": ("per_device_train_batch_size",),
    "data": ("train_file", "dataset_name"),
    "dataset": ("dataset_name",),
    "epochs": ("num_train_epochs",),
    "file": ("train_file",),
    "lr": ("learning_rate",),
    "max_length": ("max_seq_length",),
    "model": ("model_name_or_path", "student_model_name_or_path"),
    "output": ("output_dir",),
    "steps": ("max_steps",),
    "student": ("student_model_name_or_path",),
    "tau": ("temperature",),
    "teacher": ("teacher_model_name_or_path",),
    "train_data": ("train_file",),
}
_LEAST_PREFIX = 3  # letters of a word that stand for the whole word: `grad_accum`


def similar_flags(name: str, flags: Collection[str]) -> list[str]:
    """Return the flags that are most like a name, best first; empty if none is.

    A name that is almost a flag, or almost a usual short name of one, means this flag. Otherwise it means a flag that
    has all its words, in any order, misspelled or shortened: one that begins with the first word, else the shortest.

    Args:
        name: What was typed, without `--`.
        flags: The names of all flags.
    """
    name = name.lower().replace("-", "_")
    meanings = {flag: [flag] for flag in flags}
    for synonym, targets in _SYNONYMS.items():
        if synonym not in meanings and (known := [target for target in targets if target in flags]):
            meanings[synonym] = known
    if close := difflib.get_close_matches(name, meanings, n=1, cutoff=0.85):
        return meanings[close[0]]
    with_words = [flag for flag in flags if _has_words(flag, name)]
    if not with_words:
        return difflib.get_close_matches(name, flags, n=1, cutoff=0.7)

    def rank(flag: str) -> tuple[bool, int, float]:
        begins_alike = _is_word(name.split("_")[0], flag.split("_")[0])
        return not begins_alike, flag.count("_"), -_likeness(flag, name)

    return [min(with_words, key=rank)]


def _has_words(flag: str, name: str) -> bool:
    """Whether each word of a name is almost a word of the flag, or the beginning of one."""
    return all(any(_is_word(word, full) for full in flag.split("_")) for word in name.split("_"))


def _is_word(word: str, full: str) -> bool:
    is_prefix = len(word) >= _LEAST_PREFIX and full.startswith(word)
    return is_prefix or _likeness(word, full) >= 0.75


def _likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()
