"""`hf-distill cache`: run a teacher over texts once and store its logits."""

import tempfile
import time
from collections.abc import Sequence
from typing import Any

from accelerate import PartialState
from datasets import Dataset, concatenate_datasets
from huggingface_hub import HfApi, get_token
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.cache import TeacherCache
from hf_distill.classifiers.label_maps import check_class_names, class_names_of, name_classes
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import resolve_problem_type
from hf_distill.cli.arguments import DataArguments
from hf_distill.cli.cache_arguments import CacheArguments
from hf_distill.cli.parsing import parse
from hf_distill.cli.printing import hide_noise, print_pairing, print_summary
from hf_distill.data import Task, has_labels, unlabelled_task, with_teacher_logits, write_labelled
from hf_distill.hub.card.dataset_card import dataset_card
from hf_distill.hub.upload import explain
from hf_distill.pipeline.loading import load_tokenizer
from hf_distill.pipeline.pairing import Pairing, compare_with_labels, pair_classes
from hf_distill.pipeline.plan import Plan, Stage, describe_teacher
from hf_distill.pipeline.teacher_head import TeacherHead, read_head
from hf_distill.pipeline.transfer import TransferSet, load_transfer
from hf_distill.record import describe_versions
from hf_distill.teachers import load_teacher
from hf_distill.utils.stages import stage, titled_stages


def run(arguments: Sequence[str]) -> None:
    """Run the teacher over every split that the flags name, and write its logits."""
    hide_noise()
    args, data = parse((CacheArguments, DataArguments), arguments)
    reference = args.teacher
    teacher = load_teacher(
        reference.name_or_path, reference.revision, reference.trust_remote_code, problem_type=data.problem_type
    )
    processes = PartialState(cpu=args.use_cpu)
    with processes.main_process_first():
        task, transfer, pairing = _load(data, teacher, read_head(reference))
    if processes.is_main_process:
        print_summary(task.summary if transfer is None else task.summary + transfer.data)
    if task.has_words and (args.output_dir or args.hub_dataset_id):
        raise ValueError(
            "For token classification the logits belong to the teacher's tokens and cannot be written next to the "
            "words. Leave out --output_dir and --hub_dataset_id, and train with --cache_teacher_outputs and the same "
            "--teacher_cache_dir."
        )
    plan = _plan(task, teacher)
    processes.print(f"\n{plan}\n")
    if args.dry_run:
        processes.print("Nothing was computed or written (--dry_run).")
        return
    tokenizer = load_tokenizer(reference, for_words=task.has_words)
    cache = TeacherCache(args.teacher_cache_dir, teacher, tokenizer, args.teacher_dtype, processes.device)
    if pairing is not None:
        compare_with_labels(
            pairing,
            task,
            lambda sample: task.tokenize_dataset(sample, tokenizer, data.max_seq_length),
            lambda rows: cache.label(rows)[TEACHER_LOGITS][:],
        )
        if processes.is_main_process:
            print_pairing(pairing)
    with titled_stages(plan.titles), stage("labels"):
        splits = {name: _label(name, task, cache, tokenizer, data.max_seq_length) for name in task.datasets}
    if transfer is not None:
        splits["train"] = transfer.select(splits["train"], *(splits[name] for name in task.validation_splits[:1]))
        processes.print(transfer.summary())
    processes.print(f"The store is {cache.folder}.")
    if processes.is_main_process and (args.output_dir or args.hub_dataset_id):
        description = {
            "fingerprint": cache.folder.name,
            **cache.description,
            "dtype": cache.dtype,
            "max_seq_length": data.max_seq_length,
            "versions": describe_versions(),
        }
        if pairing is not None:
            description["pairing"] = pairing.to_dict()
        if transfer is not None:
            description["transfer"] = transfer.report
        # A column of scores that is empty in every row does not say that it is one.
        _write(splits, description, args, task.problem_type == "regression" and not has_labels(task))


def _load(
    data: DataArguments, teacher: PreTrainedModel, head: TeacherHead | None
) -> tuple[Task, TransferSet | None, Pairing | None]:
    """Load the labelled rows, with unlabelled text after the training rows; or only unlabelled text."""
    problem_type = resolve_problem_type(teacher)
    if not data.has_labelled_rows:
        if (transfer := load_transfer(data.transfer, data.text_column_names, problem_type)) is None:
            raise ValueError(
                "No texts given. Pass --task_name, --dataset_name or --train_file for labelled rows, or "
                "--transfer_file or --transfer_dataset_name for unlabelled text."
            )
        if data.names_of_outputs is not None:
            given_names = check_class_names(data.names_of_outputs, class_names_of(teacher.config))
            name_classes(teacher.config, given_names)
        names = class_names_of(teacher.config) if problem_type.has_temperature else None
        return unlabelled_task(transfer.text, problem_type.name, names), transfer, None
    task = data.load(to_train=False, teacher=head)
    task, pairing = pair_classes(task, teacher, data.names_of_outputs)
    transfer = load_transfer(data.transfer, task.text_columns, problem_type, task.datasets)
    if transfer is not None:
        features = next(iter(task.datasets.values())).features
        no_labels = [task.no_label] * len(transfer.text)
        unlabelled = transfer.text.add_column("label", no_labels, feature=features["label"]).cast(features)
        labelled = [task.datasets["train"]] if "train" in task.datasets else []
        task.datasets["train"] = concatenate_datasets([*labelled, unlabelled])
    return task, transfer, pairing


def _plan(task: Task, teacher: PreTrainedModel) -> Plan:
    num_texts = sum(len(rows) for rows in task.datasets.values())
    return Plan(describe_teacher(teacher), "", [Stage("labels", f"teacher labels {num_texts:,} texts")])


def _label(
    split: str, task: Task, cache: TeacherCache, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Dataset:
    """Run the teacher on the rows of a split that are not in the store, and add its logits to the text."""
    text = task.datasets[split]
    rows = task.tokenize_dataset(text, tokenizer, max_length)
    start, num_computed_before = time.perf_counter(), cache.num_computed
    labelled = cache.label(rows)
    seconds, num_computed = time.perf_counter() - start, cache.num_computed - num_computed_before
    where = " in this process" if cache.processes.num_processes > 1 else ""
    cache.processes.print(
        f"{split}: {len(rows):,} rows in {seconds:.1f} s; the teacher ran on {num_computed:,}{where}."
    )
    return labelled if task.has_words else with_teacher_logits(text, labelled, task)


def _write(
    splits: dict[str, Dataset], description: dict[str, Any], args: CacheArguments, needs_problem_type: bool
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.output_dir or temporary
        write_labelled(splits, folder, description)
        name = args.hub_dataset_id or "Labelled by a teacher"
        dataset_card(name, description, {split: len(rows) for split, rows in splits.items()}).save(
            f"{folder}/README.md"
        )
        if args.output_dir:
            problem_type = " --problem_type regression" if needs_problem_type else ""
            print(f"Texts and logits are in {folder}. Train with --dataset_name {folder}{problem_type}.")
        if args.hub_dataset_id:
            _push(folder, args.hub_dataset_id)


def _push(folder: str, repo_id: str) -> None:
    try:
        api = HfApi()
        api.create_repo(repo_id, repo_type="dataset", private=True, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, repo_type="dataset", folder_path=folder, commit_message="Teacher's logits"
        )
    except Exception as error:  # many kinds: no connection, no token, a rejected commit
        raise ConnectionError(
            f"The push failed: {explain(error, get_token())}. The logits are in the store. Run the same command "
            "again; the teacher will not run again."
        ) from None  # the cause can contain a token
    print(f"Pushed to {commit.repo_url}.")
