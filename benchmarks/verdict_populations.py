"""Populations of rows in which a student's score is exactly a given amount below its teacher's."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.optimize import brentq

from hf_distill.data.metrics import Metric
from hf_distill.data.resamples import Counts, Moments, RegressionMoments
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.comparison.unseen import unseen_loss

SINGLE, MULTI, TOKENS = "single_label_classification", "multi_label_classification", "token_classification"


def answers(shares: Sequence[float], accuracy: float, loss: float) -> np.ndarray:
    """Return the probability of each (label, answer of the teacher, answer of the student).

    Wrong answers are spread evenly over the other classes. The student repeats the teacher's answer on most rows; on a
    share `loss` of the teacher's right answers it is wrong, and on a tenth of the teacher's errors it is right.
    """
    size = len(shares)
    is_right = np.eye(size)
    teacher = accuracy * is_right + (1 - accuracy) * (1 - is_right) / (size - 1)  # answer given the label
    table = np.zeros((size, size, size))
    for label in range(size):
        for answer in range(size):
            of_student = np.zeros(size)
            if answer == label:
                of_student[:] = loss / (size - 1)
                of_student[label] = 1 - loss
            else:
                of_student[answer], of_student[label] = 0.9, 0.1
            table[label, answer] = shares[label] * teacher[label, answer] * of_student
    return table


@dataclass(frozen=True)
class Rows:
    """Rows of a few kinds, each with its counts.

    Attributes:
        problem_type: Name of the problem type.
        shares: For single-label rows the share of each class; else the share of rows with each label (multi-label), or
            of words in an entity for each word of a sentence.
        accuracies: The teacher's share of right answers, one for each kind of sentence; half of all are of each kind.
    """

    problem_type: str
    shares: tuple[float, ...]
    accuracies: tuple[float, ...]

    def kinds(self, loss: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each kind of row, and its counts `(num_kinds, num_counts)`."""
        if self.problem_type == SINGLE:
            table = answers(self.shares, self.accuracies[0], loss)
            one_hot = np.eye(len(self.shares))[np.indices(table.shape).reshape(3, -1)]
            return table.ravel(), self._counts(*one_hot)
        of_label = np.indices((2, 2, 2)).reshape(3, -1)
        probabilities = [
            reduce(np.multiply.outer, [answers((1 - s, s), accuracy, loss).ravel() for s in self.shares]).ravel()
            for accuracy in self.accuracies
        ]
        states = np.indices((8,) * len(self.shares)).reshape(len(self.shares), -1).T
        return np.mean(probabilities, axis=0), self._counts(*of_label[:, states].astype(float))

    def _counts(self, labels: np.ndarray, teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
        """Return units, labels, and for each model predictions, those that are right, and units that are right."""
        is_token_level = self.problem_type == TOKENS
        units = np.full((len(labels), 1), float(labels.shape[1] if is_token_level else 1))
        columns = [units, labels]
        for chosen in (teacher, student):
            is_right = chosen == labels
            right = is_right.sum(axis=1) if is_token_level else is_right.all(axis=1)
            columns += [chosen, chosen * labels, right[:, None]]
        if is_token_level:  # entities of all words together
            columns = [column.sum(axis=1, keepdims=True) for column in columns]
        return np.concatenate(columns, axis=1)

    def scores(self, sums: np.ndarray, metric: Metric) -> np.ndarray:
        """Return the teacher's and the student's score of sums of counts, `(2, num_samples)`."""
        width = (sums.shape[1] - 3) // 5
        units, labels, *models = np.split(sums, np.cumsum([1, width, width, width, 1, width, width]), axis=1)
        of_models = (models[:3], models[3:])
        assert metric.from_counts is not None
        return np.stack(
            [
                metric.from_counts(Counts(units[:, 0], right[:, 0], labels, chosen, both))
                for chosen, both, right in of_models
            ]
        )

    def expected(self, loss: float) -> np.ndarray:
        """Return sums over very many rows, `(1, num_counts)`."""
        probabilities, counts = self.kinds(loss)
        return 1e7 * (probabilities @ counts)[None]

    def draw(self, loss: float, num_rows: int, num_samples: int, generator: np.random.Generator) -> np.ndarray:
        """Return the counts of the rows of samples, `(num_rows, num_samples, num_counts)`."""
        probabilities, counts = self.kinds(loss)
        places = np.searchsorted(np.cumsum(probabilities)[:-1], generator.random((num_rows, num_samples)))
        return counts.astype(np.float32)[places]

    def unseen(self, metric: Metric, num_rows: int) -> float:
        """Return how much the intervals are widened, for a sample with the classes of the population."""
        names = [str(i) for i in range(len(self.shares))]
        if self.problem_type == SINGLE:
            sizes = np.maximum(1, np.round(num_rows * np.array(self.shares))).astype(int)
            labels = np.repeat(np.arange(len(sizes)), sizes)
        else:
            labels = np.random.default_rng(0).random((num_rows, len(names))) < self.shares
        rows = np.arange(len(labels))
        return unseen_loss(Units(self.problem_type, names, labels, rows, [], np.ones(len(rows))), metric)


@dataclass(frozen=True)
class Numbers:
    """Labels from a normal distribution, and predictions with normal errors; some rows have larger errors.

    Attributes:
        error: Standard deviation of the teacher's errors on most rows; the labels have 1.
        outlier_share: Share of rows with larger errors, of both models.
        outlier_factor: How many times as large these errors are.
    """

    error: float
    outlier_share: float = 0.0
    outlier_factor: float = 1.0
    problem_type: str = "regression"

    def expected(self, loss: float) -> np.ndarray:
        """Return the mean sums of a row, `(1, 12)`; the student's errors have the additional variance `loss`."""
        mean_scale, mean_square = (1 + self.outlier_share * (self.outlier_factor**power - 1) for power in (1, 2))
        columns = [0.0, 1.0]
        for variance in (self.error**2, self.error**2 + loss):
            square = variance * mean_square
            columns += [0.0, 1 + square, 1.0, mean_scale * np.sqrt(2 / np.pi * variance), square]
        return np.array([[1.0, *columns]])

    def draw(self, loss: float, num_rows: int, num_samples: int, generator: np.random.Generator) -> np.ndarray:
        """Return the powers of labels y and predictions x of samples, `(num_rows, num_samples, 13)`."""
        shape = (num_rows, num_samples)
        labels, first, second = (generator.standard_normal(shape) for _ in range(3))
        is_outlier = generator.random(shape) < self.outlier_share
        scale = np.where(is_outlier, self.outlier_factor, 1.0)
        columns = [np.ones(shape), labels, labels**2]
        for error in (self.error * first, self.error * first + np.sqrt(loss) * second):
            prediction = labels + scale * error
            columns += [prediction, prediction**2, prediction * labels, np.abs(scale * error), (scale * error) ** 2]
        return np.stack(columns, axis=2).astype(np.float32)

    def scores(self, sums: np.ndarray, metric: Metric) -> np.ndarray:
        """Return the teacher's and the student's score of sums of powers, `(2, num_samples)`."""
        total, *means = (sums / sums[:, :1]).T
        y, yy = means[:2]
        assert metric.from_counts is not None
        scores = []
        for x, xx, xy, absolute, square in (means[2:7], means[7:]):
            moments = Moments(x, y, xx, yy, xy)
            scores.append(metric.from_counts(RegressionMoments(moments, moments, absolute, square, yy - y**2)))
        return np.stack(scores)

    def unseen(self, metric: Metric, num_rows: int) -> float:
        """Return 0: errors of a regression are never all alike."""
        return 0.0


Population = Rows | Numbers
POPULATIONS: dict[str, Population] = {
    "2 classes": Rows(SINGLE, (0.5, 0.5), (0.9,)),
    "2 classes, 95 : 5": Rows(SINGLE, (0.95, 0.05), (0.97,)),
    "5 classes": Rows(SINGLE, (0.2,) * 5, (0.85,)),
    "2 classes, good teacher": Rows(SINGLE, (0.5, 0.5), (0.98,)),
    "3 labels": Rows(MULTI, (0.4, 0.2, 0.1), (0.93,)),
    "sentences of 3 words": Rows(TOKENS, (0.3, 0.3, 0.3), (0.97, 0.85)),
    "numbers": Numbers(0.5),
    "numbers, 5 % outliers": Numbers(0.4, 0.05, 4.0),
}


def loss_at(population: Population, metric: Metric, margin: float) -> float:
    """Return the loss of answers with which the student's score is one margin worse than the teacher's."""

    def miss(loss: float) -> float:
        teacher, student = population.scores(population.expected(loss), metric)[:, 0]
        return metric.sign * float(student - teacher) + margin

    return float(brentq(miss, 0.0, 0.9, xtol=1e-12))
