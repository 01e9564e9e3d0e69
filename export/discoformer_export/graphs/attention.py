"""Attention in the graphs: in blocks by a Scan, or one head after another.

`attend_scanned` has memory linear in M + N: a Scan over blocks of queries, in standard operators. In PyTorch
it is a custom operator, so tracing sees only its shapes. The exporter replaces it by the function `scanned`.
`attend_by_head` has no Scan. Its memory is that of the weights of one head.

See `discoformer_training.nn.attention` for the formula.
"""

# mypy: ignore-errors
# (onnxscript compiles `scanned` to ONNX: its types are not those of Python.)

import torch
from onnxscript import FLOAT, graph, script
from onnxscript import opset18 as op
from torch import Tensor, library

from discoformer_training.nn.attention import attend_plain

BLOCK = 128  # queries in a block


@library.custom_op("discoformer::attend", mutates_args=())
def attend_scanned(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the attention in PyTorch, by the plain formula."""
    return attend_plain(queries, keys, values)


@attend_scanned.register_fake
def _(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    return queries.new_empty(*queries.shape[:-1], values.shape[-1]), queries.new_empty(queries.shape[:-1])


@script()
def scanned(queries: FLOAT[...], keys: FLOAT[...], values: FLOAT[...]) -> tuple[FLOAT[...], FLOAT[...]]:
    """Map queries (B, H, M, K), keys (B, H, N, K), values (B, H, N, V) to output and log-normaliser."""
    count = op.Squeeze(op.Shape(queries, start=2, end=3))
    zero = op.Constant(value_int=0)
    size = op.Min(op.Constant(value_int=BLOCK), count)
    within = op.Range(zero, size, op.Constant(value_int=1))
    keys_t = op.Transpose(keys, perm=[0, 1, 3, 2])

    @graph()
    def step(done, start):
        rows = op.Min(start + within, count - 1)  # the last block repeats the last query
        logits = op.MatMul(op.Gather(queries, rows, axis=2), keys_t)
        greatest = op.ReduceMax(logits, op.Constant(value_ints=[-1]))
        weights = op.Exp(logits - greatest)
        total = op.ReduceSum(weights, op.Constant(value_ints=[-1]))
        output = op.MatMul(weights, values) / total
        log_normaliser = op.Squeeze(greatest + op.Log(total), op.Constant(value_ints=[-1]))
        return op.Identity(done), output, log_normaliser

    _, outputs, log_normalisers = op.Scan(
        zero, op.Range(zero, count, size), body=step, num_scan_inputs=1, scan_output_axes=[2, 2]
    )  # (B, H, blocks, BLOCK, V)
    first, last, axis = op.Constant(value_ints=[0]), op.Unsqueeze(count, [0]), op.Constant(value_ints=[2])
    rows = op.Constant(value_ints=[0, 0, -1])
    output = op.Reshape(outputs, op.Concat(rows, op.Shape(values, start=3), axis=0))
    return op.Slice(output, first, last, axis), op.Slice(op.Reshape(log_normalisers, rows), first, last, axis)


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
