"""A transformers pipeline as a teacher: its model and its tokenizer."""

from typing import Any, cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase


def model_and_tokenizer(given: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase] | None:
    """Return the model and the tokenizer of a pipeline that classifies texts or tokens; None for another object.

    The model gives logits of all classes, where the pipeline itself gives the score of the best one.

    Raises:
        TypeError: for a pipeline of another task, or a subclass, which can change the answers of the model.
    """
    from transformers import Pipeline, TextClassificationPipeline, TokenClassificationPipeline  # slow to import

    if not isinstance(given, Pipeline):
        return None
    if type(given) not in (TextClassificationPipeline, TokenClassificationPipeline):
        raise TypeError(
            f"A {type(given).__name__} cannot be a teacher: only the pipelines text-classification and "
            "token-classification return the answers of their model. Pass a function that calls the pipeline and "
            "returns the logarithms of its scores, one row per text and one column per class."
        )
    return given.model, cast(PreTrainedTokenizerBase, given.tokenizer)
