"""`hf-distill COMMAND --help`: the flags in groups, without slow imports."""

import shutil
import textwrap
from collections.abc import Iterable

from hf_distill.cli.commands import COMMANDS
from hf_distill.cli.flags import TRAINER, Flag, flags_of

# Heading -> names of flags, or prefixes that end with *. The first heading that fits gets a flag.
_GROUPS = {
    "Requirements and space": "require minimize space num_trials study_name storage",
    "Teacher": "teacher_model_name_or_path teacher_revision teacher_trust_remote_code fine_tune_teacher "
    "teacher_num_train_epochs teacher_learning_rate allow_weak_teacher candidate_labels hypothesis_template "
    "prior_correction calibrate_teacher shard_teacher",
    "Student": "student_* freeze_student_embeddings baseline baseline_model_name_or_path export_folder",
    "Model": "model_name_or_path trust_remote_code",
    "Unlabelled text": "transfer_* max_transfer_samples augment augment_masked_lm",
    "Data": "train_file validation_file test_file task_name data_dir dataset_name dataset_config_name "
    "validation_split_* shifted_file text_file max_seq_length max_train_samples max_eval_samples",
    "Columns and labels": "text_column_* label_column_* label_delimiter label_map class_names problem_type "
    "column_names encoding",
    "Comparison": "metric_name metric_module slice_column group_column tune_thresholds margin allow_training_rows "
    "latency_rounds",
    "Loss": "temperature soft_label_weight hard_label_weight soft_loss objectives",
    "Cache": "cache_teacher_outputs teacher_cache_dir teacher_dtype",
    "Export": "quantize dtype tolerance report",
    "Hub": "folder hub_model_id hub_dataset_id public revision commit_message create_pr license language tags",
    "Output": "output_dir overwrite_output_dir dry_run",
    "Training": "num_train_epochs max_steps learning_rate per_device_train_batch_size per_device_eval_batch_size "
    "gradient_accumulation_steps warmup_steps eval_strategy save_strategy load_best_model_at_end "
    "metric_for_best_model resume_from_checkpoint seed bf16 use_cpu report_to push_to_hub",
}
# Flags that a command has and does not use.
_HIDDEN = {
    "compare": ("validation_split_percentage", "max_train_samples"),
    "train": ("do_train", "do_eval", "do_predict", "local_rank"),
}
_HIDDEN["search"] = (*_HIDDEN["train"], "hub_*", "push_to_hub", "resume_from_checkpoint")
# Flags whose sentence in transformers is not about what the commands do.
_SENTENCES = {
    "resume_from_checkpoint": "True: continue from the newest complete checkpoint of this run in output_dir, or start "
    "anew if there is none. Or the path of a checkpoint.",
}
_PLACEHOLDERS = {"int": "N", "float": "NUMBER", "bool": "True|False", "str": "TEXT"}
_LONGEST_CHOICES = 60  # characters
_INDENT = " " * 6


def help_text(command: str, shows_all: bool = False) -> str:
    """Return the help of a command.

    Args:
        command: Name of the command.
        shows_all: Whether to show every flag of Trainer, too.
    """
    about = COMMANDS[command]
    flags = [flag for flag in flags_of(about.classes) if not _fits(flag.name, _HIDDEN.get(command, ()))]
    usage = f"usage: hf-distill {command}{' [flags]' if flags else ''}"
    lines = [usage, "", about.description, "", "Example:", f"  {about.example}"]
    if not flags:
        return "\n".join(lines)
    shown: set[str] = set()
    for heading, words in _GROUPS.items():
        group = [flag for flag in flags if _fits(flag.name, words.split()) and flag.name not in shown]
        shown |= {flag.name for flag in group}
        lines += _section(heading, group)
    others = [flag for flag in flags if flag.name not in shown]
    if shows_all:
        lines += _section("All other flags of Trainer", others)
    lines += ["", "--config recipe.yaml reads flags from a YAML file. A flag on the command line wins over the file."]
    if any(flag.type_name.startswith("bool") for flag in flags):
        lines.append("A True|False flag without a value means True.")
    if any(flag.owner == TRAINER for flag in others) and not shows_all:
        lines.append(f"--help-all also lists the {len(others)} other flags of transformers' Trainer.")
    return "\n".join(lines)


def ungrouped_flags(command: str) -> list[str]:
    """Return the names of the flags of this package that no heading has."""
    words = " ".join(_GROUPS.values()).split()
    return [
        flag.name
        for flag in flags_of(COMMANDS[command].classes)
        if flag.owner != TRAINER and not _fits(flag.name, words)
    ]


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(name.startswith(word[:-1]) if word.endswith("*") else name == word for word in patterns)


def _section(heading: str, flags: list[Flag]) -> list[str]:
    if not flags:
        return []
    width = min(shutil.get_terminal_size().columns, 100)
    lines = ["", heading]
    for flag in flags:
        lines.append(f"  --{flag.name} {_placeholder(flag)}{'  (required)' if flag.is_required else ''}")
        text = f"{_SENTENCES.get(flag.name, flag.help)}{_default(flag)}"
        lines += textwrap.wrap(text, width, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False)
    return lines


def _placeholder(flag: Flag) -> str:
    choices = "|".join(flag.choices)
    placeholder = choices if 0 < len(choices) <= _LONGEST_CHOICES else _PLACEHOLDERS[flag.kind]
    return f"{placeholder} ..." if flag.takes_several else placeholder


def _default(flag: Flag) -> str:
    if flag.default in (None, False, "") or "Unset:" in flag.help:
        return ""
    return f" (default: {flag.default})"
