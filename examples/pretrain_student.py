"""Distil a masked language model on plain text, as DistilBERT was made; its student then goes to any task.

    python examples/pretrain_student.py --teacher_model_name_or_path google-bert/bert-base-uncased \
        --train_file text.txt --validation_file more.txt --num_hidden_layers 6 --output_dir general
    hf-distill train --student_model_name_or_path general --teacher_model_name_or_path user/my-bert-classifier \
        --train_file labelled.csv --validation_file validation.csv --baseline --output_dir student

The loss is DistilBERT's triple loss with the weights of its code, over the masked words: the teacher's answers,
softened (5, temperature 2), the words themselves (2), and the cosine between the last hidden states (1); Sanh et al.
(2019), https://huggingface.co/papers/1910.01108. (DistilBERT takes the teacher's answers at all words, masked or not.)
Words are masked anew in every epoch, those to evaluate on once for all. A teacher without a language model's head, for
instance a sentence encoder, gets one by `--fine_tune_teacher`, which trains it on the text first. Logits of a whole
vocabulary are large, about 0.5 GB for 32 rows of 128 tokens and 30,000 words, once for the teacher and twice for the
student: take small batches, and --gradient_accumulation_steps.
"""

import dataclasses
import math
from dataclasses import dataclass, field

from transformers import AutoModelForMaskedLM, AutoTokenizer, HfArgumentParser

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student
from hf_distill.data import MaskingCollator, chunk_texts, load_transfer_text, mask_once

TRIPLE_LOSS = {
    "kl": {"weight": 5.0, "temperature": 2.0},
    "ce": 2.0,
    "hidden_cosine": {"weight": 1.0, "layer_mapping": "last"},
}


@dataclass
class ScriptArguments:
    teacher_model_name_or_path: str = field(
        metadata={"help": "A masked language model, or with --fine_tune_teacher any encoder."}
    )
    train_file: str = field(metadata={"help": "Text to train on: .txt (one a line), CSV, TSV, JSON or Parquet."})
    validation_file: str = field(metadata={"help": "Other text, to evaluate on."})
    fine_tune_teacher: bool = field(
        default=False, metadata={"help": "Train the teacher on the text first, without a teacher of its own."}
    )
    teacher_num_train_epochs: float = field(default=3, metadata={"help": "Epochs of that training."})
    num_hidden_layers: int = field(default=3, metadata={"help": "Layers of the student."})
    max_seq_length: int = field(default=128, metadata={"help": "Tokens of a row; texts are joined and cut."})


def load_teacher(script):
    teacher, info = AutoModelForMaskedLM.from_pretrained(
        script.teacher_model_name_or_path, dtype="float32", output_loading_info=True
    )
    if info["missing_keys"] and not script.fine_tune_teacher:
        raise SystemExit(
            f"{script.teacher_model_name_or_path} has no weights for {sorted(info['missing_keys'])}: its head is "
            "random, and a student would learn noise. Add --fine_tune_teacher, or name a masked language model."
        )
    return teacher


def main():
    script, args = HfArgumentParser((ScriptArguments, DistillationTrainingArguments)).parse_args_into_dataclasses()
    if args.objectives is None:
        args = dataclasses.replace(args, objectives=TRIPLE_LOSS)
    teacher = load_teacher(script)
    tokenizer = AutoTokenizer.from_pretrained(script.teacher_model_name_or_path)
    train, validation = (
        chunk_texts(load_transfer_text(file)["text"], tokenizer, script.max_seq_length)
        for file in (script.train_file, script.validation_file)
    )
    common = {
        "train_dataset": train,
        "eval_dataset": mask_once(validation, tokenizer),
        "data_collator": MaskingCollator(tokenizer),
        "processing_class": tokenizer,
    }
    perplexity = {}
    alone = args.without_teacher(f"{args.output_dir}/teacher", num_train_epochs=script.teacher_num_train_epochs)
    trainer = DistillationTrainer(teacher, args=alone, **common)
    if script.fine_tune_teacher:
        trainer.train()
        trainer.save_model()
    perplexity["teacher"] = math.exp(trainer.evaluate()["eval_loss_ce"])

    student = create_student(teacher, num_hidden_layers=script.num_hidden_layers)
    trainer = DistillationTrainer(student, teacher, args, **common)
    perplexity["student before"] = math.exp(trainer.evaluate()["eval_loss_ce"])
    trainer.train()
    perplexity["student after"] = math.exp(trainer.evaluate()["eval_loss_ce"])
    trainer.record |= {"perplexity": perplexity}
    trainer.save_model()
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        print(
            "\nPerplexity of the masked words:", ", ".join(f"{name} {value:.1f}" for name, value in perplexity.items())
        )


if __name__ == "__main__":
    main()
