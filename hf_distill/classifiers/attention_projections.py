"""The query, key and value projections of self-attention: where a model has them, and recording their outputs."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

# Names of the three projections in BERT, RoBERTa, ELECTRA and ALBERT; in DistilBERT; in MPNet.
PROJECTION_NAMES = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"), ("q", "k", "v"))


def find_projections(model: nn.Module) -> list[tuple[nn.Module, ...]]:
    """Return the query, key and value projections of each self-attention module; layers can share one (ALBERT)."""
    return [
        tuple(children[name] for name in names)
        for children in (dict(module.named_children()) for module in model.modules())
        for names in PROJECTION_NAMES
        if children.keys() >= set(names)
    ]


@contextmanager
def recorded_projections(model: nn.Module, enabled: bool) -> Iterator[list[list[Tensor]]]:
    """Record queries, keys and values while the model runs.

    Args:
        model: The model, wrapped or not.
        enabled: Whether to record. If not, the yielded list stays empty.

    Yields:
        Three lists, of the queries, keys and values in the order of the layers, each `(batch, length, size)`.
    """
    recorded: list[list[Tensor]] = [[], [], []] if enabled else []
    handles = [
        projection.register_forward_hook(lambda module, args, output, outputs=outputs: outputs.append(output))
        for projections in (find_projections(model) if enabled else [])
        for projection, outputs in zip(projections, recorded, strict=True)
    ]
    try:
        yield recorded
    finally:  # gradient checkpointing runs layers again in the backward pass; these calls must not be recorded
        for handle in handles:
            handle.remove()
