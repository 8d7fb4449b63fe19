"""A classifier without layers: the mean of token vectors, and a small head. It is fast on a CPU."""

from __future__ import annotations

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

MODEL_TYPE = "hf_distill_static"


@strict
class StaticConfig(PreTrainedConfig):
    """Config of [`StaticForSequenceClassification`].

    Args:
        vocab_size: Number of token vectors.
        hidden_size: Size of a token vector.
        head_size: Number of neurons of the head.
        num_hidden_layers: 0: there are no layers between the token vectors and the head.
        dropout: Share of the head's inputs and neurons that are dropped in training.
        layer_norm_eps: Epsilon of the layer norm of the mean vector.
        initializer_range: Standard deviation of random weights.
        pad_token_id: Id of the padding token.
    """

    model_type = MODEL_TYPE

    vocab_size: int = 30522
    hidden_size: int = 256
    head_size: int = 512
    num_hidden_layers: int = 0
    dropout: float | int = 0.1
    layer_norm_eps: float | int = 1e-5
    initializer_range: float = 0.02
    pad_token_id: int | None = 0


class StaticModel(PreTrainedModel):
    """The layer norm of the mean of the token vectors of a text."""

    config: StaticConfig
    config_class = StaticConfig
    base_model_prefix = "static"
    _input_embed_layer = "embeddings"  # transformers reads this name

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return one vector for each text, `(batch, hidden_size)`.

        Args:
            input_ids: `(batch, tokens)`.
            attention_mask: `(batch, tokens)`, 0 for padding; None if there is no padding.
        """
        mask_BT = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        mask_BT1 = mask_BT.unsqueeze(-1).to(self.embeddings.weight.dtype)
        total_BH = (self.embeddings(input_ids) * mask_BT1).sum(dim=1)
        return self.norm(total_BH / mask_BT1.sum(dim=1).clamp(min=1.0))


class StaticForSequenceClassification(PreTrainedModel):
    """A classifier of single texts whose logits are a small network's of the mean of the token vectors.

    The order of the words does not count, so that it cannot learn negation or compare the texts of a pair.
    """

    config: StaticConfig
    config_class = StaticConfig
    base_model_prefix = "static"

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.static = StaticModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(config.hidden_size, config.head_size)
        self.classifier = nn.Linear(config.head_size, config.num_labels)  # type: ignore[arg-type]  # a property that is set late
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Return the logits, `(batch, num_labels)`, and the loss if there are labels.

        Args:
            input_ids: `(batch, tokens)`.
            attention_mask: `(batch, tokens)`, 0 for padding; None if there is no padding.
            token_type_ids: Ignored; the tokenizers of most encoders return them.
            labels: As the config's `problem_type` wants them.
        """
        states_BH = self.dropout(self.static(input_ids, attention_mask))
        states_BF = self.dropout(torch.relu(self.dense(states_BH)))
        logits = self.classifier(states_BF)
        loss = None if labels is None else self.loss_function(labels=labels, logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def register() -> None:
    """Let the Auto classes of transformers load static models."""
    AutoConfig.register(MODEL_TYPE, StaticConfig, exist_ok=True)
    AutoModelForSequenceClassification.register(StaticConfig, StaticForSequenceClassification, exist_ok=True)
