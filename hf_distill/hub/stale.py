"""Which files of a repository belong to an earlier student and are removed by a push."""

import re
from collections.abc import Mapping

from hf_distill.hub.card.files import CARD_NAME, SECOND_CARD_NAME
from hf_distill.hub.card.merge import has_user_text
from hf_distill.hub.repository import MANIFEST_NAME, Branch

# `from_pretrained` loads these rather than weights of other names. A variant is in the middle of a name: model.fp16.
_LOADED = re.compile(r"(adapter_)?model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?|adapter_config\.json")
WEIGHT_FILES = re.compile(
    r"((pytorch_|tf_|flax_|rust_|adapter_)?model(\.\w+)*(-\d{5}-of-\d{5})?\.(safetensors|bin|h5|msgpack|ot)"
    r"(\.index(\.\w+)?\.json)?|adapter_config\.json)"
)
_EXPORTS = re.compile(
    r"(export\.json|onnx/.*\.(onnx|onnx_data|onnx\.data)|model\w*\.(onnx|onnx_data|onnx\.data)|(openvino/.*|openvino_model\w*)\."
    r"(xml|bin))"
)
TOKENIZER_FILES = frozenset(
    {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"}
    | {"vocab.txt", "vocab.json", "merges.txt", "spiece.model", "spm.model", "tokenizer.model"}
    | {"sentencepiece.bpe.model", "bpe.codes"}
)


def stale_files(branch: Branch, files: Mapping[str, str], is_whole: bool) -> list[str]:
    """Return the files that a push replaces by others, or by nothing.

    These are files that earlier pushes of hf_distill wrote and that this push does not have. If the weights change,
    also weights, exports and tokenizer files of the usual names, whoever wrote them.

    Args:
        branch: The branch before the push.
        files: The files of the push: path -> SHA-256 of the content.
        is_whole: Whether the push has the report and the exports. If it does not, they stay as long as the weights do.

    Raises:
        ValueError: if the manifest was damaged.
    """
    others = branch.files.keys() - files.keys() - {CARD_NAME, MANIFEST_NAME}
    if has_same_weights(branch, files):
        stale = others & branch.written_files() if is_whole else set()
    else:
        stale = {path for path in others if _is_part_of_model(path)} | others & branch.written_files()
    if not is_whole or has_user_text(branch.texts.get(SECOND_CARD_NAME, "")):
        stale -= {SECOND_CARD_NAME}
    return sorted(stale)


def has_same_weights(branch: Branch, files: Mapping[str, str]) -> bool:
    """Return whether the branch has the weights of the push, and no others that would be loaded in their place."""
    weights = {path for path in files if _LOADED.fullmatch(path)}
    if weights != {path for path in branch.files if _LOADED.fullmatch(path)}:
        return False
    return all(branch.files[path] == files[path] for path in weights if path.endswith(".safetensors"))


def _is_part_of_model(path: str) -> bool:
    return bool(WEIGHT_FILES.fullmatch(path) or _EXPORTS.fullmatch(path)) or path in TOKENIZER_FILES
