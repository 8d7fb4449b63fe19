"""What a search writes: the table of its trials, its summary, and the winner with its recipe, export and report."""

import csv
import io
import json
import math
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from hf_distill.export.loading import load_classifier
from hf_distill.record import describe_machine
from hf_distill.reporting import compare_models
from hf_distill.search.architectures import export_student
from hf_distill.search.finalists import Finalist
from hf_distill.search.need import key_of, show
from hf_distill.search.storage import search_id
from hf_distill.search.trials import Trials
from hf_distill.utils.atomic import write_file_atomically, write_folder_atomically

STUDENT, EXPORT, REPORT, RECIPE = "student", "export", "report", "recipe.yaml"
_FEWEST_FOR_IMPORTANCE = 4  # completed trials
_TRUST = "teacher_trust_remote_code"
_CONFIG = "config.json"  # marks the folder of a model


def write_text(folder: Path, name: str, text: str) -> None:
    """Write a file atomically."""
    write_file_atomically(folder, name, lambda path: path.write_text(text, encoding="utf-8"))


def table(trials: Trials) -> list[dict[str, Any]]:
    """Return one row for each finished trial: its settings, its numbers on the validation rows, and its cost."""
    rows = []
    for trial in trials.finished():
        candidate = trials.candidate(trial.params)
        is_complete = trial.state == TrialState.COMPLETE
        rows.append(
            {
                "trial": trial.number,
                "state": "completed" if is_complete else "stopped",
                "architecture": candidate.architecture.name,
                "layers": candidate.layers,
                **candidate.settings,
                "is_met": is_complete and (trial.value or 0) > 0,
                "evaluations": len(trial.intermediate_values) + is_complete,
                "seconds": round(trial.user_attrs.get("seconds", 0.0), 2),
                **{key: value for key, value in trial.user_attrs.get("values", {}).items() if "[" not in key},
                **trials.costs[candidate.architecture.name],
            }
        )
    return rows


def write_table(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write `trials.csv`."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, names)
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder, "trials.csv", buffer.getvalue())


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the share of each setting in the variance of the results.

    Empty with fewer than four completed trials, or if all have the same result. By functional ANOVA: Hutter et al.
    (2014), https://proceedings.mlr.press/v32/hutter14.html. Settings that only some students have, such as the
    learning rate of static students, are left out.
    """
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < _FEWEST_FOR_IMPORTANCE:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns about its own experimental parts
        try:
            shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
        except RuntimeError:  # all trials have the same result, so there is no variance to share out
            return {}
    return {name: round(float(share), 4) for name, share in shares.items()}


def summarize(trials: Trials, seconds: Mapping[str, float], finalists: list[Finalist]) -> dict[str, Any]:
    """Return the content of `search.json`."""
    rows = table(trials)
    return {
        "search": search_id(trials.study),
        "task": trials.rows.task.name,
        "metric_name": trials.rows.task.metric_name,
        "validation_rows": len(trials.rows.labels),
        "requirements": [requirement.text for requirement in trials.need.requirements],
        "minimize": trials.need.minimize,
        "space": trials.space.to_dict(),
        "teacher": {name: value for name, value in trials.teacher.items() if "[" not in name},
        "floor": trials.trainings.floor or {},
        "architectures": trials.costs,
        "trials": rows,
        "finalists": [_describe_finalist(finalist, trials) for finalist in finalists],
        "importances": importances(trials.study),
        "seconds": {**seconds, "trials": sum(row["seconds"] for row in rows)},
        "machine": describe_machine(),
    }


def _describe_finalist(finalist: Finalist, trials: Trials) -> dict[str, Any]:
    names = [*map(key_of, trials.need.quality), trials.rows.task.metric_name]
    return {
        "trial": finalist.trial,
        "architecture": finalist.candidate.architecture.name,
        "flags": finalist.candidate.flags,
        "seeds": list(finalist.seeds),
        "values": [{name: values[name] for name in dict.fromkeys(names)} for values in finalist.values],
        "margin": finalist.margin,
        "margin_bound": finalist.margin_bound,
    }


def nearest(trials: Trials, number: int = 5) -> str:
    """Return lines on the completed trials that come closest to the requirements on quality."""
    completed = trials.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    lines = []
    for trial in sorted(completed, key=lambda trial: -(trial.value or 0))[:number]:
        values, name = trial.user_attrs["values"], trial.user_attrs["architecture"]
        numbers = ", ".join(f"{key_of(r)} {show(values[key_of(r)])}" for r in trials.need.quality)
        cost = trials.costs[name]
        lines.append(
            f"  {name}: {numbers}, {cost['latency_p50_ms']:.3g} ms, {cost['size_mb']:.3g} MB "
            f"(short by {-(trial.value or 0):.4f})"
        )
    return "\n".join(lines)


def ship(winner: Finalist, trials: Trials, flags: Mapping[str, Any], folder: Path) -> None:
    """Copy the model of the winner's best run into `student/`, and export it into `export/`.

    Args:
        winner: The winner.
        trials: The trials.
        flags: The flags of all trainings, which say whether the teacher's code is trusted: the student has it too.
        folder: Output folder of the search.
    """
    source = winner.folders[winner.best_run(trials.rows.task.metric_name)]
    inputs = trials.trainings.inputs_for(winner.candidate)

    def copy(temporary: Path) -> None:
        shutil.copytree(source, temporary, dirs_exist_ok=True, ignore=shutil.ignore_patterns("search_result.json"))

    write_folder_atomically(folder / STUDENT, copy, marker=_CONFIG)
    shutil.rmtree(folder / EXPORT, ignore_errors=True)
    variant = winner.candidate.architecture.variant
    student = load_classifier(folder / STUDENT, trust_remote_code=bool(flags.get(_TRUST)))
    export_student(student, inputs.tokenizer, folder / EXPORT, variant, inputs.max_length, trials.rows.texts)


def write_recipe(winner: Finalist, flags: Mapping[str, Any], folder: Path) -> None:
    """Write `recipe.yaml`, the flags with which `hf-distill train` trains the winner again.

    Args:
        winner: The winner.
        flags: The flags of all trainings, with the seed of the run that is shipped.
        folder: Output folder of the search.
    """
    lines = [f"The winner of a search: {winner.candidate.architecture.name}. `hf-distill train --config` reads this."]
    # A recipe can come from somebody else, so it cannot decide whether code is run.
    kept = {name: value for name, value in flags.items() if name != _TRUST}
    lines += [f"Pass{trust_words(flags)}: the teacher comes with Python code."] if flags.get(_TRUST) else []
    recipe = {**kept, **winner.candidate.flags, "output_dir": str(folder / "retrained")}
    comment = "".join(f"# {line}\n" for line in lines)
    write_text(folder, RECIPE, comment + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))


def trust_words(flags: Mapping[str, Any]) -> str:
    """Return the words that the recipe of a teacher with code needs on the command line, after a blank; else ""."""
    return f" --{_TRUST} True" if flags.get(_TRUST) else ""


def judge(trials: Trials, split: str, folder: Path) -> list[dict[str, Any]]:
    """Compare the winner's export with the teacher on test rows, which no part of the search has seen.

    The report is saved in `report/`.

    Returns:
        The result of each requirement.
    """
    inputs = trials.trainings.inputs
    task = inputs.task
    report = compare_models(
        {"teacher": trials.trainings.teacher, "student": str(folder / EXPORT)},
        task.datasets[split],
        {"teacher": inputs.teacher_tokenizer or inputs.tokenizer},
        text_columns=task.text_columns,
        label_column="label",
        label_names=task.label_names,
        metric_name=task.metric_name,
        name=f"{task.name}, {split}",
        max_length=min(inputs.max_length, inputs.tokenizer.model_max_length),
    )
    results = report.check([requirement.text for requirement in trials.need.requirements], "student")
    report.save(folder / REPORT)
    return results


def read_summary(folder: Path, search: str) -> dict[str, Any]:
    """Return the content of `search.json` of an earlier run of the same search; empty if there is none.

    Args:
        folder: Output folder of the search.
        search: What [`~hf_distill.search.storage.search_id`] returns.
    """
    path = folder / "search.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content if content.get("search") == search else {}


def to_json(content: Mapping[str, Any]) -> str:
    """Return a summary as JSON; a number that is not finite becomes null."""
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
