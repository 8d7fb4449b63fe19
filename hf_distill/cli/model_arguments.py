"""Flags that name the teacher and the student."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hf_distill.cli.arguments import DataArguments
from hf_distill.cli.candidate_labels import read_candidate_labels
from hf_distill.cli.teacher_arguments import TeacherArguments

if TYPE_CHECKING:  # slow to import
    from hf_distill.pipeline.augmentation import Augmentation
    from hf_distill.pipeline.student import StudentOptions

TEACHER_FOLDER = "teacher"  # of a teacher that is fine-tuned, in the output folder
LAYER_CHOICES = ("uniform", "first", "last")
# The flags that choose a part of the teacher or of a pretrained student.
PART_FLAGS = ("student_num_hidden_layers", "student_layers", "student_intermediate_size", "student_architecture")


@dataclass
class ModelArguments(TeacherArguments):
    """The teacher and the student."""

    fine_tune_teacher: bool = field(
        default=False,
        metadata={"help": "First fine-tune the teacher on the labelled rows, into <output_dir>/teacher."},
    )
    teacher_num_train_epochs: float | None = field(
        default=None,
        metadata={
            "help": "Number of epochs for fine-tuning the teacher. Unset: until the validation rows show no "
            "more gain, see docs/teachers.md#fine-tuning; with max_steps that number of steps."
        },
    )
    teacher_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate for fine-tuning the teacher. Unset: learning_rate."}
    )
    candidate_labels: list[str] | None = field(
        default=None,
        metadata={
            "help": "Names of classes, e.g. world,sports,business, or JSON with a description of each: the teacher is "
            "a natural language inference model or a sentence encoder, which labels unlabelled text with them "
            "(docs/zero_shot.md)."
        },
    )
    hypothesis_template: str | None = field(
        default=None,
        metadata={
            "help": "With --candidate_labels: a text with {} in place of the name of a class. Unset: 'This example is "
            "{}.' with an inference model, and the name itself with a sentence encoder."
        },
    )
    prior_correction: str = field(
        default="none",
        metadata={
            "help": "With --candidate_labels, for a teacher that prefers some classes. uniform: all classes get the "
            "same mean probability on the texts, so they must be about equally frequent. estimated: the probabilities "
            "are divided by those of texts without content. none: no correction (docs/zero_shot.md).",
            "choices": ["none", "uniform", "estimated"],
        },
    )
    student_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Path or Hub id of a pretrained student, instead of a student with layers of the teacher. Its "
            "tokenizer can differ from the teacher's. With --student_num_hidden_layers, for example, only some of "
            "its layers are used."
        },
    )
    student_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the pretrained student on the Hub."}
    )
    student_trust_remote_code: bool = field(
        default=False,
        metadata={"help": "Run Python files that come with the pretrained student. A recipe cannot set this."},
    )
    student_num_hidden_layers: int | None = field(
        default=None,
        metadata={
            "help": "Copy this number of layers of the teacher, or of the pretrained student, into the student. "
            "--student_layers says which."
        },
    )
    student_layers: str | None = field(
        default=None,
        metadata={
            "help": "Copy these layers into the student, counted from 0, e.g. 0,2,5. With "
            "--student_num_hidden_layers: uniform (evenly spaced), first or last. Unset: uniform."
        },
    )
    student_intermediate_size: int | None = field(
        default=None,
        metadata={
            "help": "Keep this number of feed-forward neurons in each copied layer: the ones that matter most on 256 "
            "random training rows. Unset: all of them."
        },
    )
    student_static_dim: int | None = field(
        default=None,
        metadata={
            "help": "Make a student without layers from the teacher's token vectors, of this size (256, for example). "
            "On a CPU it is 25 times as fast as 2 layers (docs/students.md). It ignores the order of words, and needs "
            "a learning rate of about 1e-2."
        },
    )
    student_architecture: str | None = field(
        default=None,
        metadata={
            "help": "Convert the copied layers to this architecture: distilbert (from a bert model). Unset: no "
            "conversion."
        },
    )
    student_trim_vocabulary: bool = field(
        default=False,
        metadata={
            "help": "Keep only the word pieces of the training texts in a student made from the teacher. Embeddings "
            "are most of a small student."
        },
    )
    freeze_student_embeddings: bool = field(
        default=False, metadata={"help": "Do not train the student's word embeddings, which makes a step faster."}
    )
    augment: int | None = field(
        default=None,
        metadata={
            "help": "Train on N variants of each labelled text as well, labelled by the teacher: words replaced by "
            "neighbors in the teacher's embedding table, masked words, n-grams, halves of two texts joined."
        },
    )
    augment_masked_lm: str | None = field(
        default=None,
        metadata={
            "help": "Path or Hub id, or user/name@revision, of a masked language model that proposes words for the "
            "variants of --augment, instead of neighbors in the teacher's embedding table."
        },
    )
    baseline: bool = field(
        default=False,
        metadata={
            "help": "Also train the same student without the teacher on the labelled rows, with the same initial "
            "weights, seed, number of steps and choice of checkpoint, into <output_dir>/baseline."
        },
    )

    dry_run: bool = field(
        default=False,
        metadata={"help": "Read the data, check everything and print the plan. Nothing is trained or written."},
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={
            "help": "Replace what an earlier run wrote into output_dir: its student and checkpoints, and the teacher "
            "and the baseline if this run writes them too. Other files stay."
        },
    )

    def __post_init__(self) -> None:
        named = (*PART_FLAGS, "student_model_name_or_path")
        given = [f"--{name}" for name in named if getattr(self, name) is not None]
        if not given and self.student_static_dim is None:
            raise ValueError(
                f"No student given. Pass --{', --'.join(PART_FLAGS)} to copy layers of the teacher, "
                "--student_static_dim for a student without layers, or --student_model_name_or_path for a pretrained "
                "student."
            )
        if given and self.student_static_dim is not None:
            raise ValueError(
                f"{' and '.join([*given, '--student_static_dim'])} name different students: --student_static_dim "
                "makes one without layers from the teacher's token vectors. Pass one kind."
            )
        if self.teacher_model_name_or_path is None and self.student_model_name_or_path is None:
            raise ValueError(
                "Without --teacher_model_name_or_path there are no layers to copy. Name a pretrained student with "
                "--student_model_name_or_path."
            )
        if self.teacher_model_name_or_path is None and self.fine_tune_teacher:
            raise ValueError("--fine_tune_teacher needs --teacher_model_name_or_path.")
        if self.student_model_name_or_path is None and (self.student_revision or self.student_trust_remote_code):
            raise ValueError(
                "--student_revision and --student_trust_remote_code need --student_model_name_or_path. A student "
                "with layers of the teacher has the teacher's revision and code."
            )
        if self.augment is not None and (self.augment < 1 or self.teacher_model_name_or_path is None):
            raise ValueError(f"--augment takes a number from 1 on, and needs a teacher, got {self.augment}.")
        if self.augment_masked_lm is not None and self.augment is None:
            raise ValueError("--augment_masked_lm proposes words for variants of texts, so it needs --augment N.")
        if self.student_trim_vocabulary and (self.fine_tune_teacher or self.student_model_name_or_path is not None):
            raise ValueError(
                "--student_trim_vocabulary is for a student made from a teacher that is already fine-tuned. Fine-tune "
                "the teacher first, and leave out --student_model_name_or_path."
            )
        self._check_layers()
        self._check_zero_shot()

    def check(self, data: DataArguments, caches_outputs: bool) -> None:
        """Check the models together with the rows.

        Args:
            data: The flags that name the rows.
            caches_outputs: Whether the teacher's outputs are stored before training.

        Raises:
            ValueError: if models and rows do not go together.
        """
        if self.labels is not None:
            _check_zero_shot_rows(data)
        if not data.has_only_texts:
            data.check_has_labelled_rows()
        if data.transfer_min_confidence is not None and not (caches_outputs and self.teacher_model_name_or_path):
            raise ValueError(
                "--transfer_min_confidence needs the teacher's outputs before training: add --cache_teacher_outputs "
                "True, or select the texts with `hf-distill cache`."
            )
        if data.has_only_texts and (self.baseline or self.fine_tune_teacher):
            raise ValueError(f"{self.needs_labels}: pass --train_file, --dataset_name or --task_name.")
        if self.augment is not None and data.has_only_texts:
            raise ValueError("--augment varies labelled texts, and there are none. Leave it out.")

    def written_folders(self, output_dir: Path) -> list[Path]:
        """Return the folders that a trained model is written into."""
        teacher = [output_dir / TEACHER_FOLDER] if self.fine_tune_teacher else []
        return [output_dir, *teacher, *([output_dir / "baseline"] if self.baseline else [])]

    @property
    def needs_labels(self) -> str:
        """What is wrong with --baseline or --fine_tune_teacher if no row has a label."""
        flag = "--baseline" if self.baseline else "--fine_tune_teacher"
        return f"{flag} trains on labels, and no row to train on has a label. Leave out {flag}, or name labelled rows"

    def _check_layers(self) -> None:
        number, layers = self.student_num_hidden_layers, self.layers
        if isinstance(layers, str) and number is None:
            raise ValueError(
                f"--student_layers {layers} says which layers the student gets, and not how many. Pass "
                "--student_num_hidden_layers too."
            )
        if isinstance(layers, list) and number is not None:
            raise ValueError(
                f"--student_num_hidden_layers {number} and --student_layers {self.student_layers} both say how many "
                "layers the student gets. Leave one of them out."
            )

    def _check_zero_shot(self) -> None:
        if self.labels is None:
            if self.hypothesis_template is not None:
                raise ValueError("--hypothesis_template needs --candidate_labels, whose names it contains.")
            if self.prior_correction != "none":
                raise ValueError("--prior_correction is for a zero-shot teacher, so it needs --candidate_labels.")
            return
        if self.teacher_model_name_or_path is None:
            raise ValueError("--candidate_labels needs --teacher_model_name_or_path.")
        others = {
            "--fine_tune_teacher": self.fine_tune_teacher,
            "--augment": self.augment,
            "--student_trim_vocabulary": self.student_trim_vocabulary,
            "--baseline": self.baseline,
        }
        if given := [flag for flag, value in others.items() if value]:
            raise ValueError(
                f"{given[0]} is for a teacher that was fine-tuned on labelled rows, and --candidate_labels makes one "
                "that was not. Leave one of them out."
            )

    @property
    def augmentation(self) -> Augmentation | None:
        """The variants to make of the labelled texts."""
        from hf_distill.pipeline.augmentation import Augmentation
        from hf_distill.pipeline.loading import ModelReference

        if self.augment is None:
            return None
        name = self.augment_masked_lm
        return Augmentation(self.augment, None if name is None else ModelReference(name))

    @property
    def labels(self) -> list[str] | dict[str, str] | None:
        """The candidate labels, or a dict from them to their descriptions."""
        return read_candidate_labels(self.candidate_labels)

    @property
    def layers(self) -> list[int] | str | None:
        """The layers that the student gets: their indices, or the name of a choice."""
        if self.student_layers is None or self.student_layers in LAYER_CHOICES:
            return self.student_layers
        try:
            return [int(layer) for layer in self.student_layers.split(",")]
        except ValueError:
            raise ValueError(
                f"--student_layers takes numbers like 0,2,5, or {', '.join(LAYER_CHOICES)}, got "
                f"{self.student_layers!r}."
            ) from None

    @property
    def student(self) -> StudentOptions:
        """How to make the student."""
        from hf_distill.pipeline.loading import ModelReference
        from hf_distill.pipeline.student import StudentOptions

        pretrained = None
        if self.student_model_name_or_path is not None:
            pretrained = ModelReference(
                self.student_model_name_or_path, self.student_revision, self.student_trust_remote_code
            )
        return StudentOptions(
            pretrained=pretrained,
            num_hidden_layers=self.student_num_hidden_layers,
            layers=self.layers,
            architecture=self.student_architecture,
            intermediate_size=self.student_intermediate_size,
            static_dim=self.student_static_dim,
            freeze_embeddings=self.freeze_student_embeddings,
        )


def _check_zero_shot_rows(data: DataArguments) -> None:
    """Refuse rows that a zero-shot teacher is not for."""
    labelled = {"train_file": data.train_file, "task_name": data.task_name, "dataset_name": data.dataset_name}
    if given := [f"--{name}" for name, value in labelled.items() if value is not None]:
        raise ValueError(
            f"--candidate_labels makes a teacher for unlabelled text, so leave out {given[0]}. Labelled rows can "
            "measure the result: pass them as --validation_file."
        )
    if not data.has_transfer:
        raise ValueError("--candidate_labels needs unlabelled text: pass --transfer_file or --transfer_dataset_name.")
    if data.problem_type not in (None, "single_label_classification", "multi_label_classification"):
        raise ValueError(f"--candidate_labels names classes of texts, and --problem_type is {data.problem_type}.")
