"""Distil a named-entity tagger: words with labels, most sentences without, the student half as deep.

    python examples/distil_token_classifier.py --model_name_or_path google-bert/bert-base-cased \
        --train_file train.conll --validation_file dev.conll --max_labelled 1000 --output_dir tagger

The files hold a word and its tag a line, and an empty line between sentences (CoNLL). Only `--max_labelled` sentences
keep their tags: the teacher is fine-tuned on these, and the student learns from it on all sentences. What counts is a
word's first token, with a tag or without. The last table compares teacher, student, and the student without a teacher.
"""

import copy
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForTokenClassification, AutoTokenizer, HfArgumentParser, pipeline

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student
from hf_distill.data import as_compute_metrics, tokenize_words
from hf_distill.reporting import summary


@dataclass
class ScriptArguments:
    model_name_or_path: str = field(metadata={"help": "Pretrained encoder, fine-tuned here into the teacher."})
    train_file: str = field(metadata={"help": "CoNLL file to train on."})
    validation_file: str = field(metadata={"help": "CoNLL file to evaluate on."})
    max_labelled: int | None = field(default=None, metadata={"help": "Sentences that keep their tags. Unset: all."})
    num_hidden_layers: int = field(default=3, metadata={"help": "Layers of the student."})
    teacher_num_train_epochs: float = field(default=6, metadata={"help": "Epochs of the teacher's fine-tuning."})


def read_conll(path: str) -> tuple[list[list[str]], list[list[str]]]:
    """Words and tags of every sentence."""
    sentences: list[list[tuple[str, str]]] = [[]]
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.strip():
            sentences[-1].append((line.split()[0], line.split()[-1]))
        elif sentences[-1]:
            sentences.append([])
    pairs = [sentence for sentence in sentences if sentence]
    return [[word for word, _ in pair] for pair in pairs], [[tag for _, tag in pair] for pair in pairs]


def main():
    script, args = HfArgumentParser((ScriptArguments, DistillationTrainingArguments)).parse_args_into_dataclasses()
    words, tags = read_conll(script.train_file)
    names = sorted({tag for sentence in tags for tag in sentence})
    label2id = {name: i for i, name in enumerate(names)}
    num_labelled = len(words) if script.max_labelled is None else min(script.max_labelled, len(words))

    # None in place of the tags: a sentence without labels.
    ids = [[label2id[tag] for tag in row] if i < num_labelled else None for i, row in enumerate(tags)]
    tokenizer = AutoTokenizer.from_pretrained(script.model_name_or_path)
    train = tokenize_words(Dataset.from_dict({"tokens": words, "tags": ids}), tokenizer, labels_column="tags")
    words, tags = read_conll(script.validation_file)
    ids = [[label2id[tag] for tag in row] for row in tags]
    validation = tokenize_words(Dataset.from_dict({"tokens": words, "tags": ids}), tokenizer, labels_column="tags")
    common = {
        "eval_dataset": validation,
        "processing_class": tokenizer,
        "compute_metrics": as_compute_metrics(["entity_f1", "token_accuracy"], "token_classification", names),
    }

    teacher = AutoModelForTokenClassification.from_pretrained(
        script.model_name_or_path, num_labels=len(names), id2label=dict(enumerate(names)), label2id=label2id
    )
    alone = args.without_teacher(f"{args.output_dir}/teacher", num_train_epochs=script.teacher_num_train_epochs)
    labelled = train.select(range(num_labelled))
    DistillationTrainer(teacher, args=alone, train_dataset=labelled, **common).train()

    student = create_student(teacher, num_hidden_layers=script.num_hidden_layers)
    untrained = copy.deepcopy(student)
    trainer = DistillationTrainer(student, teacher, args, train_dataset=train, **common)
    trainer.train()
    trainer.evaluate()
    trainer.train_baseline(untrained)  # on the labelled sentences alone

    trainer.record |= {
        "metric_name": "entity_f1",
        "dataset": {
            "id": Path(script.train_file).name,
            "train_rows": num_labelled,
            "unlabelled_rows": len(train) - num_labelled,
            "eval_rows": len(validation),
            "eval_split": "validation",
        },
    }
    trainer.save_model()
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        print("\n" + summary(trainer.distillation_record()))
        tag = pipeline("token-classification", model=args.output_dir, aggregation_strategy="simple")
        sentence = " ".join(words[0])
        print(f"\n{sentence!r}: {[(found['word'], found['entity_group']) for found in tag(sentence)]}")


if __name__ == "__main__":
    main()
