"""Distill a named-entity tagger into one with half the layers, with few tagged and many untagged sentences.

    python examples/distill_token_classifier.py --model_name_or_path google-bert/bert-base-cased \
        --train_file train.conll --validation_file dev.conll --max_labelled 1000 --output_dir tagger

The files are in CoNLL format: one word with its tag per line, and an empty line between sentences. Only the first
`--max_labelled` sentences keep their tags. The teacher is fine-tuned on these, and the student learns from the teacher
on all sentences. The loss is computed at the first token of each word. The last table compares the teacher, the
student, and the same student trained without the teacher.
(`hf-distill train` does the same from the shell, with `--transfer_file` for the untagged sentences.)
"""

import copy
from dataclasses import dataclass, field

from transformers import AutoTokenizer, HfArgumentParser, pipeline

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student
from hf_distill.data import load_text_dataset
from hf_distill.pipeline import fine_tune
from hf_distill.reporting import summary


@dataclass
class ScriptArguments:
    model_name_or_path: str = field(metadata={"help": "Pretrained encoder, which is fine-tuned into the teacher."})
    train_file: str = field(metadata={"help": "CoNLL file to train on."})
    validation_file: str = field(metadata={"help": "CoNLL file to evaluate on."})
    max_labelled: int | None = field(
        default=None, metadata={"help": "Number of sentences that keep their tags. Unset: all."}
    )
    num_hidden_layers: int = field(default=3, metadata={"help": "Number of layers of the student."})
    teacher_num_train_epochs: float = field(
        default=6, metadata={"help": "Number of epochs for fine-tuning the teacher."}
    )


def main():
    script, args = HfArgumentParser((ScriptArguments, DistillationTrainingArguments)).parse_args_into_dataclasses()
    tokenizer = AutoTokenizer.from_pretrained(script.model_name_or_path, add_prefix_space=True)  # RoBERTa needs it
    task = load_text_dataset(train_file=script.train_file, validation_file=script.validation_file)
    sentences = task.datasets["train"]
    task.datasets["train"] = sentences.map(  # None instead of tags means that the sentence is unlabelled
        lambda row, i: {"label": row["label"] if i < (script.max_labelled or len(sentences)) else None},
        with_indices=True,
        features=sentences.features,
    )
    rows = task.tokenize(tokenizer)

    teacher = fine_tune(
        script.model_name_or_path,
        task,
        args,
        f"{args.output_dir}/teacher",
        tokenizer=tokenizer,
        train_dataset=rows["train"],  # `fine_tune` leaves unlabelled sentences out
        eval_dataset=rows["validation"],
        num_train_epochs=script.teacher_num_train_epochs,
    ).model

    student = create_student(teacher, num_hidden_layers=script.num_hidden_layers)
    untrained = copy.deepcopy(student)
    trainer = DistillationTrainer(
        student,
        teacher,
        args,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        compute_metrics=task.compute_metrics,
    )
    trainer.train()
    trainer.evaluate()
    trainer.train_baseline(untrained)  # on the tagged sentences, without the teacher

    trainer.describe_data(task, rows)
    trainer.save_model()
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        print("\n" + summary(trainer.distillation_record()))
        tag = pipeline("token-classification", model=args.output_dir, aggregation_strategy="simple")
        sentence = " ".join(task.datasets["validation"]["tokens"][0])
        print(f"\n{sentence!r}: {[(entity['word'], entity['entity_group']) for entity in tag(sentence)]}")


if __name__ == "__main__":
    main()
