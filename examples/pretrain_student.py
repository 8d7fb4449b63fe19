"""Distill a masked language model on plain text, as DistilBERT was made, into a student for any task.

    python examples/pretrain_student.py --teacher_model_name_or_path google-bert/bert-base-uncased \
        --train_file text.txt --validation_file more.txt --num_hidden_layers 6 --output_dir general
    hf-distill train --student_model_name_or_path general --teacher_model_name_or_path user/my-bert-classifier \
        --train_file labelled.csv --validation_file validation.csv --baseline --output_dir student

The loss is DistilBERT's triple loss with the weights of its code, computed at the masked words: the teacher's soft
targets (weight 5, temperature 2), the words themselves (weight 2), and the cosine between the last hidden states
(weight 1); Sanh et al. (2019), https://huggingface.co/papers/1910.01108. (DistilBERT's code uses the teacher's soft
targets at all words, masked or not.) Other words are masked in every epoch; the evaluation text is masked once. A
teacher without a language-model head, for instance a sentence encoder, needs `--fine_tune_teacher`, which adds a head
and first trains the teacher on the text. The logits of a whole vocabulary are large: 32 rows of 128 tokens and 30,000
words take about 0.5 GB, once for the teacher and twice for the student. Use small batches and
--gradient_accumulation_steps.
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
        metadata={"help": "A masked language model; with --fine_tune_teacher, any encoder."}
    )
    train_file: str = field(metadata={"help": "Text to train on: .txt (a text per line), CSV, TSV, JSON or Parquet."})
    validation_file: str = field(metadata={"help": "Other text to evaluate on."})
    fine_tune_teacher: bool = field(
        default=False, metadata={"help": "First train the teacher on the text as a masked language model."}
    )
    teacher_num_train_epochs: float = field(default=3, metadata={"help": "Number of epochs for training the teacher."})
    num_hidden_layers: int = field(default=3, metadata={"help": "Number of layers of the student."})
    max_seq_length: int = field(
        default=128, metadata={"help": "Number of tokens per row; texts are joined and then cut."}
    )


def load_teacher(script):
    teacher, loading_info = AutoModelForMaskedLM.from_pretrained(
        script.teacher_model_name_or_path, dtype="float32", output_loading_info=True
    )
    missing = sorted(loading_info["missing_keys"])
    if missing and not script.fine_tune_teacher:
        raise SystemExit(
            f"{script.teacher_model_name_or_path} has no weights for {missing}: its head is random, and a student "
            "would learn noise. Add --fine_tune_teacher, or name a masked language model."
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
    shared_args = {
        "train_dataset": train,
        "eval_dataset": mask_once(validation, tokenizer),
        "data_collator": MaskingCollator(tokenizer),
        "processing_class": tokenizer,
    }
    perplexity = {}
    teacher_args = args.without_teacher(
        f"{args.output_dir}/teacher", num_train_epochs=script.teacher_num_train_epochs, max_steps=-1
    )
    trainer = DistillationTrainer(teacher, args=teacher_args, **shared_args)
    if script.fine_tune_teacher:
        trainer.train()
        trainer.save_model()
    perplexity["teacher"] = math.exp(trainer.evaluate()["eval_loss_ce"])

    student = create_student(teacher, num_hidden_layers=script.num_hidden_layers)
    trainer = DistillationTrainer(student, teacher, args, **shared_args)
    perplexity["student before training"] = math.exp(trainer.evaluate()["eval_loss_ce"])
    trainer.train()
    perplexity["student after training"] = math.exp(trainer.evaluate()["eval_loss_ce"])
    trainer.record |= {"perplexity": perplexity}
    trainer.save_model()
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        values = ", ".join(f"{name} {value:.1f}" for name, value in perplexity.items())
        print(f"\nPerplexity of the masked words: {values}")


if __name__ == "__main__":
    main()
