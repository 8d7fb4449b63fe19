"""Losses on labels: pure functions that compute in float32 and return `(batch,)`, with 0 for a row without a label."""

import torch.nn.functional as F
from torch import Tensor

IGNORE_INDEX = -100  # the label of a row without a label, as in torch's cross-entropy


def cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    r"""Cross-entropy with hard labels, times the weight of the label; 0 for a row without a label.

    Args:
        logits: `(batch, num_labels)`, any float dtype.
        labels: `(batch,)`, class ids; -100 marks a row without a label.
        label_smoothing: Share of the target that is spread evenly over all classes, from 0 to 1.
        class_weights: `(num_labels,)`, the weight of each class; None for 1. With label smoothing, the whole value of
            a row has the weight of its label, unlike in torch, where every class of the smoothed target has its own.

    Returns:
        `(batch,)`, in nats.
    """
    values_B = F.cross_entropy(
        logits.float(), labels, ignore_index=IGNORE_INDEX, label_smoothing=label_smoothing, reduction="none"
    )
    return values_B if class_weights is None else values_B * class_weights[labels.clamp(min=0)]


def binary_cross_entropy(logits: Tensor, labels: Tensor, positive_weights: Tensor | None = None) -> Tensor:
    r"""Cross-entropy of independent binary labels, mean over the labels, as in transformers.

    Args:
        logits: `(batch, num_labels)`, any float dtype.
        labels: `(batch, num_labels)`, each from 0 to 1. A row in which all labels are NaN has no label and gives 0; a
            row in which some labels are NaN gives NaN.
        positive_weights: `(num_labels,)`, the weight of the term $y \log \sigma(z)$ of each label; None for 1.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: for unequal shapes.
    """
    if logits.shape != labels.shape:
        raise ValueError(
            f"binary_cross_entropy: logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)}. "
            "Multi-label classification needs a 0 or 1 for every label of every row."
        )
    unlabelled_B = labels.isnan().all(dim=-1)
    filled_BC = labels.float().masked_fill(unlabelled_B[:, None], 0.0)
    values_BC = F.binary_cross_entropy_with_logits(
        logits.float(), filled_BC, pos_weight=positive_weights, reduction="none"
    )
    return values_BC.mean(dim=-1).masked_fill(unlabelled_B, 0.0)


def squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    r"""Squared error of a regression, mean over the outputs.

    $$\ell_b = \frac{1}{O} \sum_o (y_{bo} - t_{bo})^2$$

    Args:
        predictions: `(batch, num_outputs)`, any float dtype.
        targets: `(batch, num_outputs)`, or `(batch,)` for a single output. A row in which all targets are NaN has no
            target and gives 0; a row in which some targets are NaN gives NaN.

    Returns:
        `(batch,)`, in squared units of the target.

    Raises:
        ValueError: for unequal shapes.
    """
    targets_BO = targets.float().reshape(len(targets), -1)
    if predictions.shape != targets_BO.shape:
        raise ValueError(
            f"squared_error: {tuple(predictions.shape)} predictions and {tuple(targets_BO.shape)} targets differ in "
            "shape. Regression needs one target per output of the model."
        )
    # Filled before squaring: the gradient of a masked NaN would still be NaN.
    unlabelled_B1 = targets_BO.isnan().all(dim=-1, keepdim=True)
    return (predictions.float() - targets_BO).masked_fill(unlabelled_B1, 0.0).square().mean(dim=-1)
