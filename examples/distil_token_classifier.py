"""Distil a named-entity tagger: words with labels, most sentences without, the student half as deep.

    python examples/distil_token_classifier.py --model_name_or_path google-bert/bert-base-cased \
        --train_file train.conll --validation_file dev.conll --max_labelled 1000 --output_dir tagger

The files hold a word and its tag a line, and an empty line between sentences (CoNLL). Only `--max_labelled` sentences
keep their tags: the teacher is fine-tuned on these, and the student learns from it on all sentences. What counts is a
word's first token, with a tag or without. The last table compares teacher, student, and the student without a teacher.
(`hf-distill train` does the same from the shell, with `--transfer_file` for the sentences without tags.)
"""

import copy
from dataclasses import dataclass, field

from transformers import AutoModelForTokenClassification, AutoTokenizer, HfArgumentParser, pipeline

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student
from hf_distill.data import load_text_dataset
from hf_distill.reporting import summary


@dataclass
class ScriptArguments:
    model_name_or_path: str = field(metadata={"help": "Pretrained encoder, fine-tuned here into the teacher."})
    train_file: str = field(metadata={"help": "CoNLL file to train on."})
    validation_file: str = field(metadata={"help": "CoNLL file to evaluate on."})
    max_labelled: int | None = field(default=None, metadata={"help": "Sentences that keep their tags. Unset: all."})
    num_hidden_layers: int = field(default=3, metadata={"help": "Layers of the student."})
    teacher_num_train_epochs: float = field(default=6, metadata={"help": "Epochs of the teacher's fine-tuning."})


def main():
    script, args = HfArgumentParser((ScriptArguments, DistillationTrainingArguments)).parse_args_into_dataclasses()
    tokenizer = AutoTokenizer.from_pretrained(script.model_name_or_path, add_prefix_space=True)  # RoBERTa needs it
    task = load_text_dataset(train_file=script.train_file, validation_file=script.validation_file)
    sentences = task.datasets["train"]
    num_labelled = min(script.max_labelled or len(sentences), len(sentences))
    sentences = sentences.map(  # None in place of the tags: a sentence without labels
        lambda row, i: {"label": row["label"] if i < num_labelled else None},
        with_indices=True,
        features=sentences.features,
    )
    train = task.tokenize_dataset(sentences, tokenizer)
    validation = task.tokenize_dataset(task.datasets["validation"], tokenizer)
    common = {
        "eval_dataset": validation,
        "processing_class": tokenizer,
        "compute_metrics": task.compute_metrics,
    }

    names = task.label_names
    teacher = AutoModelForTokenClassification.from_pretrained(
        script.model_name_or_path,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    alone = args.without_teacher(f"{args.output_dir}/teacher", num_train_epochs=script.teacher_num_train_epochs)
    DistillationTrainer(teacher, args=alone, train_dataset=train.select(range(num_labelled)), **common).train()

    student = create_student(teacher, num_hidden_layers=script.num_hidden_layers)
    untrained = copy.deepcopy(student)
    trainer = DistillationTrainer(student, teacher, args, train_dataset=train, **common)
    trainer.train()
    trainer.evaluate()
    trainer.train_baseline(untrained)  # on the labelled sentences alone

    trainer.record |= {
        "metric_name": task.metric_name,
        "dataset": {
            "id": task.dataset_id,
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
        sentence = " ".join(task.datasets["validation"]["tokens"][0])
        print(f"\n{sentence!r}: {[(found['word'], found['entity_group']) for found in tag(sentence)]}")


if __name__ == "__main__":
    main()
