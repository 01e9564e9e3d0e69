"""Attention in the graphs: one head after another, so memory is that of the weights of one head.

See `discoformer_training.nn.attention` for the formula.
"""

import torch
from torch import Tensor


def attend_by_head(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the attention of each head alone.

    The greatest weight is exp(greatest logit) / Z. So log Z needs no exponentials besides those of softmax,
    which runtimes compute in one pass.
    """
    outputs, greatest, shares = [], [], []
    for query, key, value in zip(*(x.split(1, 1) for x in (queries, keys.mT, values)), strict=True):
        logits = query @ key
        weights = torch.softmax(logits, -1)
        outputs.append(weights @ value)
        greatest.append(logits.amax(-1))
        shares.append(weights.amax(-1))
    return torch.cat(outputs, 1), torch.cat(greatest, 1) - torch.cat(shares, 1).log()
