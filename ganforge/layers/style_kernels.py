"""Triton kernels of `noisy_style`, for NCHW and NHWC.

A program handles a block of channels of one image, and one of several splits of the pixels. All numbers are float32.
Activated maps are relative to their first pixel, so that the variance of constant maps is exactly 0.
"""

# mypy: ignore-errors

import triton
import triton.language as tl


@triton.jit
def _open(
    x, noise, strength, factor, num_channels, num_pixels, noise_stride, channel_stride, span, BLOCK_C: tl.constexpr
):
    """Return the image, channels and the range of pixels of this program, and its maps and noise."""
    image = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = channels < num_channels
    start = tl.program_id(2) * span
    x += image * num_channels * num_pixels
    noise += image * noise_stride
    gain = tl.load(strength + channels, mask=inside, other=0.0).to(tl.float32) * factor
    first = tl.load(x + channels * channel_stride, mask=inside, other=0.0).to(tl.float32)
    first += gain * tl.load(noise).to(tl.float32)
    first = tl.where(first > 0, first, 0.2 * first)
    return image, channels, inside, start, tl.minimum(start + span, num_pixels), x, noise, gain, first


@triton.jit
def _activate(x, noise, gain, first, begin, end, channels, inside, pixel_stride, channel_stride, BLOCK_P: tl.constexpr):
    """Return offsets and mask of a tile, its noise, whether noisy maps are positive, and their leaky ReLU."""
    pixels = (begin + tl.arange(0, BLOCK_P))[:, None]
    mask = (pixels < end) & inside[None, :]
    offsets = pixels * pixel_stride + channels[None, :] * channel_stride
    drawn = tl.load(noise + pixels, mask=pixels < end, other=0.0).to(tl.float32)
    value = tl.load(x + offsets, mask=mask, other=0.0).to(tl.float32) + gain[None, :] * drawn
    positive = value > 0
    return offsets, mask, drawn, positive, tl.where(positive, value, 0.2 * value) - first[None, :]


@triton.jit
def _load_splits(table, image, channels, inside, num_channels, SPLITS: tl.constexpr):
    """Return both rows of a table ``[N, 2, SPLITS, C]``."""
    offsets = (image * 2 * SPLITS + tl.arange(0, SPLITS)[:, None]) * num_channels + channels[None, :]
    row = tl.load(table + offsets, mask=inside[None, :], other=0.0)
    return row, tl.load(table + offsets + SPLITS * num_channels, mask=inside[None, :], other=0.0)


@triton.jit
def _store_split(table, image, row, value, channels, inside, num_channels, SPLITS: tl.constexpr, ROWS: tl.constexpr):
    offset = (image * ROWS + row) * SPLITS + tl.program_id(2)
    tl.store(table + offset * num_channels + channels, value, mask=inside)


@triton.jit
def _merge(table, image, channels, inside, num_channels, num_pixels, span, SPLITS: tl.constexpr):
    """Return means, and inverses of deviations, from those of all splits (Chan, Golub and LeVeque 1979)."""
    means, squares = _load_splits(table, image, channels, inside, num_channels, SPLITS)
    counts = tl.minimum(tl.maximum(num_pixels - tl.arange(0, SPLITS) * span, 0), span).to(tl.float32)[:, None]
    mean = tl.sum(means * counts, 0) / num_pixels
    apart = means - mean[None, :]
    return mean, tl.rsqrt(tl.sum(squares + counts * apart * apart, 0) / num_pixels + 1e-5)


@triton.jit
def statistics(
    result, x, noise, strength, factor, num_channels, num_pixels, noise_stride, pixel_stride, channel_stride, span,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Store means and sums of squared deviations, ``[N, 2, SPLITS, C]``."""
    image, channels, inside, start, end, x, noise, gain, first = _open(
        x, noise, strength, factor, num_channels, num_pixels, noise_stride, channel_stride, span, BLOCK_C
    )
    mean = tl.zeros([BLOCK_C], tl.float32)
    squares = tl.zeros([BLOCK_C], tl.float32)
    for begin in range(start, end, BLOCK_P):
        _, mask, _, _, value = _activate(
            x, noise, gain, first, begin, end, channels, inside, pixel_stride, channel_stride, BLOCK_P
        )
        old = (begin - start).to(tl.float32)
        new = (tl.minimum(begin + BLOCK_P, end) - begin).to(tl.float32)
        middle = tl.sum(tl.where(mask, value, 0.0), 0) / new
        apart = tl.where(mask, value - middle[None, :], 0.0)
        shift = middle - mean
        mean += shift * (new / (old + new))
        squares += tl.sum(apart * apart, 0) + shift * shift * (old * new / (old + new))
    _store_split(result, image, 0, mean, channels, inside, num_channels, SPLITS, 2)
    _store_split(result, image, 1, squares, channels, inside, num_channels, SPLITS, 2)


@triton.jit
def apply(
    result, x, noise, strength, style, table, factor, num_channels, num_pixels, noise_stride, pixel_stride,
    channel_stride, span, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Store normalized maps with scales and shifts of the style, ``[N, 2 C]``."""
    image, channels, inside, start, end, x, noise, gain, first = _open(
        x, noise, strength, factor, num_channels, num_pixels, noise_stride, channel_stride, span, BLOCK_C
    )
    mean, inverse = _merge(table, image, channels, inside, num_channels, num_pixels, span, SPLITS)
    style += image * 2 * num_channels + channels
    scale = tl.load(style, mask=inside, other=0.0).to(tl.float32) * inverse
    shift = tl.load(style + num_channels, mask=inside, other=0.0).to(tl.float32)
    result += image * num_channels * num_pixels
    for begin in range(start, end, BLOCK_P):
        offsets, mask, _, _, value = _activate(
            x, noise, gain, first, begin, end, channels, inside, pixel_stride, channel_stride, BLOCK_P
        )
        tl.store(result + offsets, (value - mean[None, :]) * scale[None, :] + shift[None, :], mask=mask)


@triton.jit
def reduce(
    result, x, noise, strength, style, table, given, factor, num_channels, num_pixels, noise_stride, pixel_stride,
    channel_stride, span, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Store sums of the gradient, times normalized maps and alone, ``[N, 2, SPLITS, C]``."""
    image, channels, inside, start, end, x, noise, gain, first = _open(
        x, noise, strength, factor, num_channels, num_pixels, noise_stride, channel_stride, span, BLOCK_C
    )
    mean, inverse = _merge(table, image, channels, inside, num_channels, num_pixels, span, SPLITS)
    given += image * num_channels * num_pixels
    to_scale = tl.zeros([BLOCK_C], tl.float32)
    to_shift = tl.zeros([BLOCK_C], tl.float32)
    for begin in range(start, end, BLOCK_P):
        offsets, mask, _, _, value = _activate(
            x, noise, gain, first, begin, end, channels, inside, pixel_stride, channel_stride, BLOCK_P
        )
        change = tl.load(given + offsets, mask=mask, other=0.0).to(tl.float32)
        to_scale += tl.sum(change * (value - mean[None, :]), 0)
        to_shift += tl.sum(change, 0)
    _store_split(result, image, 0, to_scale * inverse, channels, inside, num_channels, SPLITS, 2)
    _store_split(result, image, 1, to_shift, channels, inside, num_channels, SPLITS, 2)


@triton.jit
def gradient(
    to_x, to_style, to_strength, x, noise, strength, style, table, given, sums, factor, num_channels,
    num_pixels, noise_stride, pixel_stride, channel_stride, span,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Store gradients to x, to the style, and to strengths by split, ``[N, SPLITS, C]``."""
    image, channels, inside, start, end, x, noise, gain, first = _open(
        x, noise, strength, factor, num_channels, num_pixels, noise_stride, channel_stride, span, BLOCK_C
    )
    mean, inverse = _merge(table, image, channels, inside, num_channels, num_pixels, span, SPLITS)
    of_scale, of_shift = _load_splits(sums, image, channels, inside, num_channels, SPLITS)
    to_scale, to_shift = tl.sum(of_scale, 0), tl.sum(of_shift, 0)
    row = image * 2 * num_channels + channels
    tl.store(to_style + row, to_scale, mask=inside & (tl.program_id(2) == 0))
    tl.store(to_style + row + num_channels, to_shift, mask=inside & (tl.program_id(2) == 0))
    scale = tl.load(style + row, mask=inside, other=0.0).to(tl.float32) * inverse
    to_shift = to_shift / num_pixels
    to_scale = to_scale * inverse / num_pixels
    given += image * num_channels * num_pixels
    to_x += image * num_channels * num_pixels
    to_gain = tl.zeros([BLOCK_C], tl.float32)
    for begin in range(start, end, BLOCK_P):
        offsets, mask, drawn, positive, value = _activate(
            x, noise, gain, first, begin, end, channels, inside, pixel_stride, channel_stride, BLOCK_P
        )
        change = tl.load(given + offsets, mask=mask, other=0.0).to(tl.float32)
        change = (change - to_shift[None, :] - (value - mean[None, :]) * to_scale[None, :]) * scale[None, :]
        change = tl.where(positive, change, 0.2 * change)
        to_gain += tl.sum(tl.where(mask, change * drawn, 0.0), 0)
        tl.store(to_x + offsets, change, mask=mask)
    _store_split(to_strength, image, 0, to_gain * factor, channels, inside, num_channels, SPLITS, 1)
