"""Loading pretrained weights: damaged files are named, and weights must fit the config."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from logging import Filter, LogRecord
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import (
    ADAPTER_CONFIG_NAME,
    CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    cached_file,
    find_adapter_config_file,
    logging,
)
from transformers.utils.hub import extract_commit_hash

from hf_distill.classifiers.auto import AutoConfig, AutoTokenizer

logger = logging.get_logger(__name__)

_LFS_POINTER = b"version https://git-lfs"
_LAYER = re.compile(r"(.*?\.\d+)\.")
_MOST_NAMED = 3
_MODEL_WEIGHTS = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)
_ADAPTER = "_adapter_name_and_commit"


def load_pretrained(
    auto_class: Any,
    name_or_path: str | os.PathLike,
    arguments: Mapping[str, Any],
    *,
    trust_remote_code: bool = False,
    with_new_head: bool = False,
) -> tuple[PreTrainedModel, list[str]]:
    """Load a pretrained model.

    Args:
        auto_class: Class with `from_pretrained`.
        name_or_path: A folder, or an id on the Hub.
        arguments: Other arguments of `from_pretrained`.
        trust_remote_code: Whether to run Python code that comes with the model.
        with_new_head: Whether a head of another shape is replaced by a random one.

    Returns:
        The model, and the names of the weights that the checkpoint does not have: those of the head or the pooler.

    Raises:
        OSError: if there is no such model, or a file of weights is damaged.
        ValueError: if the config does not match the weights.
    """
    revision = arguments.get("revision") or "main"
    if adapter_file := find_adapter_config_file(os.fspath(name_or_path), revision=revision):
        _refuse_whole_model(name_or_path)
        base_revision = _check_base(adapter_file, trust_remote_code)
        arguments = {**arguments, "revision": base_revision, "adapter_kwargs": {"revision": revision}}
    hides_report = _without_load_report() if with_new_head else contextlib.nullcontext()
    with _naming_damaged_files(name_or_path), hides_report:
        model, loading_info = auto_class.from_pretrained(
            name_or_path,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **arguments,
        )
    _check_sizes(model, loading_info, name_or_path, with_new_head)
    _check_layers(model, loading_info, name_or_path)
    if getattr(model, "_hf_peft_config_loaded", False):
        # The config has the name of the base.
        setattr(model, _ADAPTER, (str(name_or_path), _commit(name_or_path, revision, ADAPTER_CONFIG_NAME)))
        _warn_of_other_weights(model, name_or_path, revision)
    _note_commit(model, arguments.get("revision") or "main")
    missing_weights = sorted({*loading_info["missing_keys"], *(key for key, *_ in loading_info["mismatched_keys"])})
    if with_new_head and missing_weights:
        names = ", ".join(missing_weights)
        logger.warning_once(f"{name_or_path} gets new random weights, which are trained next: {names}.")
    return model, sorted(loading_info["missing_keys"])


def read_config(
    name_or_path: str | os.PathLike, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedConfig | None:
    """Read the config of a model; return None for an adapter without one.

    Raises:
        OSError: if there is no such model.
        ValueError: if the config needs its own Python code and `trust_remote_code` is False, or cannot be read.
    """
    revision = revision or "main"
    try:
        return AutoConfig.from_pretrained(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError):
        if find_adapter_config_file(os.fspath(name_or_path), revision=revision) is not None:
            return None
        raise


def has_own_code(thing: Any) -> bool:
    """Return whether a model or a tokenizer is of a class that came with it."""
    return type(thing).__module__.startswith("transformers_modules.")


def load_pretrained_tokenizer(
    name_or_path: str | os.PathLike, revision: str | None = None, trust_remote_code: bool = False, **options: Any
) -> PreTrainedTokenizerBase:
    """Load a tokenizer, and warn if it came with code that is not run: transformers takes another class in silence.

    Args:
        name_or_path: A folder, or an id on the Hub.
        revision: Branch, tag or commit on the Hub; None for the main branch.
        trust_remote_code: Whether to run Python code that comes with the tokenizer.
        **options: Other arguments of `from_pretrained`.

    Raises:
        OSError: if there is no tokenizer.
        ValueError: if there is none that can be loaded.
    """
    tokenizer = AutoTokenizer.from_pretrained(
        name_or_path, revision=revision or "main", trust_remote_code=trust_remote_code, **options
    )
    if "auto_map" in tokenizer.init_kwargs and not has_own_code(tokenizer):
        logger.warning(
            f"The tokenizer of {tokenizer.name_or_path} comes with its own code, which was not run, so "
            f"{type(tokenizer).__name__} stands in for it, and its tokens can be others. If you trust the code, allow "
            "it (`trust_remote_code`)."
        )
    return tokenizer


def commit_of(config: PreTrainedConfig) -> str | None:
    """Return the commit on the Hub that a config was loaded from by this library; None if it is not known."""
    return getattr(config, "_commit_hash", None)


def origin_of(model: PreTrainedModel) -> tuple[str, str | None]:
    """Return the folder or Hub id that a model was loaded from, "" if there is none, and its commit, if it is known.

    Those of a model with an adapter are the adapter's own.
    """
    return getattr(model, _ADAPTER, (model.config.name_or_path or "", commit_of(model.config)))


def keep_origin(model: PreTrainedModel, copied: PreTrainedModel) -> None:
    """Note the origin of a model's adapter in a model that was made from it, whose config names the base."""
    if hasattr(model, _ADAPTER):
        setattr(copied, _ADAPTER, getattr(model, _ADAPTER))


def tokenizer_source(model: PreTrainedModel) -> tuple[str, str]:
    """Return the folder or Hub id of a model, "" if it has none, and the revision that it was loaded from."""
    return model.config.name_or_path or "", commit_of(model.config) or "main"


@contextlib.contextmanager
def explaining_load_errors(subject: str, name_or_path: str | os.PathLike) -> Iterator[None]:
    """Say what could not be loaded; for a path that does not exist, say also that there is no such folder.

    Transformers takes such a path for a Hub id, so that its message is about the id or the connection.

    Args:
        subject: How the message begins, before the name: "The teacher", for example.
        name_or_path: What is loaded within the block.

    Raises:
        OSError: with both and the message of transformers.
    """
    try:
        yield
    except OSError as error:
        raise OSError(f"{subject} {name_or_path!r} cannot be loaded: {_if_no_folder(name_or_path)}{error}") from error


def _if_no_folder(name_or_path: str | os.PathLike) -> str:
    is_missing = not Path(name_or_path).exists()
    return "there is no such folder on this machine, so it was searched on the Hub: " if is_missing else ""


class _LoadReportFilter(Filter):
    def filter(self, record: LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()


@contextlib.contextmanager
def _without_load_report() -> Iterator[None]:
    """Hide the table in which transformers lists the weights of a new head, with the advice to train them."""
    of_models, report_filter = logging.get_logger(PreTrainedModel.__module__), _LoadReportFilter()
    of_models.addFilter(report_filter)
    try:
        yield
    finally:
        of_models.removeFilter(report_filter)


@contextlib.contextmanager
def _naming_damaged_files(name_or_path: str | os.PathLike) -> Iterator[None]:
    files = sorted(Path(name_or_path).glob("*.safetensors")) + sorted(Path(name_or_path).glob("*.bin"))
    if pointers := [path.name for path in files if _starts_with_pointer(path)]:
        raise OSError(
            f"{name_or_path}: {', '.join(pointers)} is a pointer of Git LFS, not the weights. Run `git lfs pull` in "
            "the folder of the model."
        )
    try:
        yield
    except (SafetensorError, EOFError) as error:
        sizes = ", ".join(f"{path.name} with {path.stat().st_size:,} bytes" for path in files)
        raise OSError(
            f"The weights of {name_or_path} are damaged or cut off ({sizes or 'in the cache of the Hub'}): {error}. "
            "Copy or download the file again."
        ) from error


def _check_base(adapter_file: str, trust_remote_code: bool) -> str:
    """Return the revision of the base that an adapter's config names; the one of the adapter is not the base's.

    Raises:
        OSError: if the base cannot be found.
        ValueError: if the config of the adapter is damaged.
    """
    try:
        config = json.loads(Path(adapter_file).read_text(encoding="utf-8"))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{adapter_file} is damaged: it is not the config of an adapter. Save the adapter again.")
    base, revision = config.get("base_model_name_or_path"), config.get("revision") or "main"
    if not base or not isinstance(base, str):
        raise ValueError(
            f"{adapter_file} names no `base_model_name_or_path`, the model that the adapter is for. Add it."
        )
    try:
        reason = "that is an adapter itself" if read_config(base, revision, trust_remote_code) is None else None
    except HFValidationError:
        reason = "there is no such folder on this machine"
    except (OSError, ValueError) as error:
        reason = f"{_if_no_folder(base)}{error}"
    if reason is not None:
        raise OSError(
            f"{adapter_file} says that the adapter is for {base!r} (`base_model_name_or_path`), which cannot be "
            f"loaded. Put that model there, or correct the name in the file. The reason: {reason}"
        )
    return revision


def _refuse_whole_model(name_or_path: str | os.PathLike) -> None:
    """Refuse a folder of an adapter that also has the weights of a whole model."""
    weights = [name for name in _MODEL_WEIGHTS if Path(name_or_path, name).is_file()]
    if weights:
        raise ValueError(
            f"{name_or_path} has the weights of a whole model ({weights[0]}) and an adapter ({ADAPTER_CONFIG_NAME}). "
            "Transformers would put the adapter on top of these weights, a second time if it is already merged into "
            f"them. If it is, remove {ADAPTER_CONFIG_NAME}; if not, move the adapter into a folder of its own."
        )


def _warn_of_other_weights(model: PreTrainedModel, name_or_path: str | os.PathLike, revision: str) -> None:
    """Warn of a repository on the Hub with an adapter and a model, of which transformers takes only the adapter."""
    if Path(name_or_path).exists():
        return
    config_file = cached_file(
        os.fspath(name_or_path), CONFIG_NAME, revision=revision, _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )  # fmt: skip
    if config_file is not None:
        logger.warning(
            f"{name_or_path} has an adapter and the config of a model. The adapter is loaded on "
            f"{model.config.name_or_path}, which it names; a whole model in {name_or_path} is not loaded."
        )


def _note_commit(model: PreTrainedModel, revision: str) -> None:
    """Note the commit on the Hub in the config, for the record; transformers 5 does not. It is not saved."""
    if commit := _commit(model.config.name_or_path or "", revision, CONFIG_NAME):
        model.config._commit_hash = commit


def _commit(name_or_path: str | os.PathLike, revision: str, file_name: str) -> str | None:
    """Return the commit on the Hub that a file was downloaded from; None for a local folder."""
    if Path(name_or_path).exists():
        return None
    path = try_to_load_from_cache(str(name_or_path), file_name, revision=revision)
    return extract_commit_hash(path, None) if isinstance(path, str) else None


def _starts_with_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_LFS_POINTER)) == _LFS_POINTER


def _check_sizes(
    model: PreTrainedModel, loading_info: Mapping[str, Any], name: str | os.PathLike, with_new_head: bool
) -> None:
    body = f"{model.base_model_prefix}."
    wrong = [entry for entry in loading_info["mismatched_keys"] if not with_new_head or entry[0].startswith(body)]
    if wrong:
        listed = "; ".join(f"{key} is {tuple(saved)}, the config says {tuple(new)}" for key, saved, new in wrong[:3])
        raise ValueError(
            f"The config of {name} does not match its weights: {len(wrong)} have another shape. {listed}. Take "
            "config.json and weights from the same checkpoint."
        )


def _check_layers(model: PreTrainedModel, loading_info: Mapping[str, Any], name: str | os.PathLike) -> None:
    """Refuse layers that the config has and the weights do not, or the other way round."""
    body = f"{model.base_model_prefix}."
    absent = [key for key in sorted(loading_info["missing_keys"]) if key.startswith(body) and "pooler" not in key]
    modules = {module_name for module_name, _ in model.named_modules()}
    layers = {match[1] for key in loading_info["unexpected_keys"] if (match := _LAYER.match(key))}
    unused = sorted(layer for layer in layers if layer.startswith(body) and layer not in modules)
    if absent or unused:
        side, keys = ("the checkpoint lacks", absent) if absent else ("the config leaves out", unused)
        raise ValueError(
            f"The config of {name}, for a {type(model).__name__} with {model.config.num_hidden_layers} layers, does "
            f"not match its weights: {side} {', '.join(keys[:_MOST_NAMED])}{' ...' if keys[_MOST_NAMED:] else ''}. "
            "Take config.json and weights from the same checkpoint."
        )
