"""Corrections of a zero-shot teacher that prefers some classes, from its own logits and without labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

PRIOR_CORRECTIONS = ("none", "uniform", "estimated")
CONTENT_FREE_TEXTS = ("N/A", "[MASK]", "")  # from Zhao et al. (2021)
_MAX_STEPS, _TOLERANCE = 2000, 1e-3
_MOST_NAMED = 5  # classes at either end of a list of biases


class PriorCorrection:
    """Subtracts from the logit of each class a bias, which is found once.

    Args:
        method: "none", "uniform" or "estimated".
        labels: Names of the classes.

    Raises:
        ValueError: for another method.

    Attributes:
        bias: `(num_labels,)`; None as long as it is not known, and for "none".
        num_texts: Number of texts that it was found on.
    """

    def __init__(self, method: str, labels: Sequence[str]) -> None:
        if method not in PRIOR_CORRECTIONS:
            raise ValueError(f"`prior_correction` must be one of {', '.join(PRIOR_CORRECTIONS)}, got {method!r}.")
        self.method, self.labels, self.num_texts = method, list(labels), 0
        self.bias: np.ndarray | None = None

    @property
    def is_pending(self) -> bool:
        """Whether the bias is still to be found."""
        return self.method != "none" and self.bias is None

    def choose_texts(self, texts: Sequence[str]) -> Sequence[str]:
        """Return the texts that the bias is found on: for "uniform" the given ones.

        Raises:
            ValueError: for "uniform" with fewer different texts than classes.
        """
        if self.method == "estimated":
            return CONTENT_FREE_TEXTS
        if (num_texts := len(set(texts))) < len(self.labels):
            raise ValueError(
                f"`prior_correction='uniform'` takes all classes to be equally frequent, and there are {num_texts:,} "
                f"different texts for {len(self.labels):,} classes. Use more texts, or 'estimated' or 'none'."
            )
        return texts

    def fit(self, logits: np.ndarray) -> None:
        """Find the bias.

        Args:
            logits: Uncorrected logits of the chosen texts, `(num_texts, num_labels)`.
        """
        find = uniform_bias if self.method == "uniform" else content_free_bias
        self.bias, self.num_texts = find(logits), len(logits)

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Return corrected logits, `(num_texts, num_labels)` in float32; unchanged if there is no bias."""
        return logits if self.bias is None else (logits - self.bias).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """Return the bias of each class for the record; empty if there is none."""
        if self.bias is None:
            return {}
        return {"bias": dict(zip(self.labels, self.bias.tolist(), strict=True)), "bias_texts": self.num_texts}

    def __str__(self) -> str:
        bias = np.zeros(len(self.labels)) if self.bias is None else self.bias
        biases = [f"{self.labels[i]} {bias[i]:+.2f}" for i in np.argsort(-bias, kind="stable")]
        if len(biases) > 2 * _MOST_NAMED:
            biases[_MOST_NAMED:-_MOST_NAMED] = [f"{len(biases) - 2 * _MOST_NAMED:,} classes between them"]
        on = "texts" if self.method == "uniform" else "texts without content"
        return (
            f"Prior correction ({self.method}): the bias of each class, found on {self.num_texts:,} {on}, is "
            f"subtracted from the teacher's logits: {', '.join(biases)}."
        )


def uniform_bias(logits: np.ndarray) -> np.ndarray:
    r"""Return the bias that gives all classes the same mean probability when it is subtracted from the logits.

    $$\frac{1}{n} \sum_i \mathrm{softmax}(z_i - b)_c = \frac{1}{C}$$

    Prior matching of Liusie et al. (2023), https://huggingface.co/papers/2309.04992. The bias exists and is unique up
    to a constant. It is found by iterative proportional fitting: each step adds $\log(C \bar p_c)$.

    Args:
        logits: `(num_texts, num_labels)`, finite.

    Returns:
        `(num_labels,)` in float64, with the mean 0.

    Raises:
        ValueError: if the mean probabilities are not equal, up to a factor of 1.001, after 2,000 steps.
    """
    bias = np.zeros(logits.shape[1])
    for _ in range(_MAX_STEPS):
        excess = logits.shape[1] * mean_probabilities(logits - bias)
        if np.abs(excess - 1).max() <= _TOLERANCE:
            return bias - bias.mean()
        bias += np.log(np.maximum(excess, np.finfo(float).tiny))
    raise ValueError(
        f"`prior_correction='uniform'` found no bias in {_MAX_STEPS:,} steps: the teacher's logits of one text differ "
        f"by up to {np.ptp(logits, axis=1).max():.3g}, so its probabilities are nearly 0 and 1. Use 'estimated' or "
        "'none'."
    )


def content_free_bias(logits: np.ndarray) -> np.ndarray:
    r"""Return the bias that divides by the class probabilities of texts without content.

    $$b_c = \log \frac{1}{n} \sum_i \mathrm{softmax}(z_i)_c$$

    Contextual calibration, Zhao et al. (2021), https://huggingface.co/papers/2102.09690: a teacher that
    prefers no class gives every class the same probability on a text without content.

    Args:
        logits: Logits of the texts without content, `(num_texts, num_labels)`, finite.

    Returns:
        `(num_labels,)` in float64, with the mean 0.
    """
    bias = np.log(np.maximum(mean_probabilities(logits), np.finfo(float).tiny))
    return bias - bias.mean()


def mean_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the mean of the softmax over the texts, `(num_labels,)` in float64.

    Args:
        logits: `(num_texts, num_labels)`.
    """
    return torch.from_numpy(logits).double().softmax(dim=1).mean(dim=0).numpy()
