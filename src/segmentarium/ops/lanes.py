"""Eight numbers of single precision in one instruction, inside compiled loops.

The compiler finds such blocks by itself in long rows. In rows of twenty classes it spends as much time on
asking whether arrays overlap and on what is left at their ends as on the sums.
"""

from __future__ import annotations

from typing import no_type_check

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

LANES = 8
_BLOCK = ir.VectorType(ir.FloatType(), LANES)
_ZEROS = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
_FUSED = ("contract",)  # a product and a sum may be one instruction


def padded(channels: int) -> int:
    """The next multiple of ``LANES``."""
    return -(-channels // LANES) * LANES


@intrinsic
@no_type_check
def add_scaled(typing, target, at, source, start, weight):
    """``target[at : at + LANES] += weight * source[start : start + LANES]``, of flat arrays, unchecked."""
    signature = types.void(target, types.intp, source, types.intp, types.float32)

    def generate(context, builder, signature, values):
        target, at, source, start, weight = values
        here = _block(context, builder, signature.args[0], target, at)
        there = _block(context, builder, signature.args[2], source, start)
        first = builder.insert_element(ir.Constant(_BLOCK, ir.Undefined), weight, ir.IntType(32)(0))
        weights = builder.shuffle_vector(first, first, _ZEROS)
        product = builder.fmul(weights, builder.load(there, align=4), flags=_FUSED)
        builder.store(builder.fadd(builder.load(here, align=4), product, flags=_FUSED), here, align=4)
        return context.get_dummy_value()

    return signature, generate


@no_type_check
def _block(context, builder, kind, array, at):
    """Where a block of a flat array lies."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _BLOCK.as_pointer())
