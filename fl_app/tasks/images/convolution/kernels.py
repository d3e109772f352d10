"""What torch's convolutions compute in vain, in C: gradients that the pooling has made zero.

Of every four values that come out of a convolution, max-pooling passes one on, and relu not
even that where it is negative. The gradients of the others are zero. A matrix product, which
is what torch's gradient of a convolution is, multiplies them all the same; here they are
skipped. The sums are the same, in another order.

Arrays are float32 and laid out channels last: [sample, row, column, channel].
"""

import ctypes
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from strategies.native.compiler import load_library

_SOURCE = r"""
#include <stdint.h>

/* Of 2 x 2 neighbours a b / c d, for each channel: the largest, or 0 if that is negative; and
   how far its place in the convolution's input is from a's, or -1 where no gradient passes.
   As in torch, the first of equals wins, and NaN wins always. */
static void pool_cell(int64_t channels, int32_t right, int32_t below,
                      const float *restrict a, const float *restrict b,
                      const float *restrict c, const float *restrict d,
                      float *restrict out, int32_t *restrict origin)
{
    for (int64_t k = 0; k < channels; k++) {
        float largest = a[k];
        int32_t place = 0, take;
        take = (b[k] > largest) | (b[k] != b[k]);
        largest = take ? b[k] : largest; place = take ? right : place;
        take = (c[k] > largest) | (c[k] != c[k]);
        largest = take ? c[k] : largest; place = take ? below : place;
        take = (d[k] > largest) | (d[k] != d[k]);
        largest = take ? d[k] : largest; place = take ? below + right : place;
        out[k] = largest <= 0 ? 0 : largest;
        origin[k] = largest <= 0 ? -1 : place;
    }
}

/* relu(max_pool(y, 2)) of y [samples, height, width, channels]. */
void pool(int64_t samples, int64_t height, int64_t width, int64_t channels,
          int64_t right, int64_t below, const float *y, float *out, int32_t *origin)
{
    for (int64_t n = 0; n < samples; n++, y += height * width * channels)
        for (int64_t i = 0; i + 1 < height; i += 2)
            for (int64_t j = 0; j + 1 < width; j += 2) {
                const float *a = y + (i * width + j) * channels, *c = a + width * channels;
                pool_cell(channels, right, below, a, a + channels, c, c + channels, out, origin);
                out += channels, origin += channels;
            }
}

typedef float octet __attribute__((vector_size(32), aligned(4), may_alias));
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));

/* to[0..length) += sum over k of scale[k] * x[at[k]..at[k] + length), for a length of `many`
   times the type's. The sums stay in registers; there are several of each where `many` is 1,
   because one addition has to wait for the other. */
#define SUM(name, type, many, sums) \
static inline void name(int64_t number, const float *scale, const int64_t *at, \
                        const float *x, float *to) \
{ \
    type sum[sums][many] = {{{0}}}; \
    int64_t k = 0; \
    for (; k + sums <= number; k += sums) \
        _Pragma("GCC unroll 8") for (int s = 0; s < sums; s++) \
            _Pragma("GCC unroll 8") for (int j = 0; j < many; j++) \
                sum[s][j] += scale[k + s] * ((const type *)(x + at[k + s]))[j]; \
    for (; k < number; k++) \
        _Pragma("GCC unroll 8") for (int j = 0; j < many; j++) \
            sum[0][j] += scale[k] * ((const type *)(x + at[k]))[j]; \
    _Pragma("GCC unroll 8") for (int j = 0; j < many; j++) { \
        _Pragma("GCC unroll 8") for (int s = 1; s < sums; s++) sum[0][j] += sum[s][j]; \
        ((type *)to)[j] += sum[0][j]; \
    } \
}
SUM(sum_48, octet, 6, 1)
SUM(sum_8, octet, 1, 4)
SUM(sum_4, quad, 1, 4)
#undef SUM

static void sum_patches(int64_t length, int64_t number, const float *scale, const int64_t *at,
                        const float *x, float *to)
{
    for (; length >= 48; length -= 48, x += 48, to += 48) sum_48(number, scale, at, x, to);
    for (; length >= 8; length -= 8, x += 8, to += 8) sum_8(number, scale, at, x, to);
    for (; length >= 4; length -= 4, x += 4, to += 4) sum_4(number, scale, at, x, to);
    for (; length > 0; length--, x++, to++)
        for (int64_t k = 0; k < number; k++) *to += scale[k] * x[at[k]];
}

/* to[0..length) += scale * from[0..length) */
static void add_scaled(int64_t length, float scale, const float *from, float *to)
{
    for (; length >= 8; length -= 8, from += 8, to += 8) *(octet *)to += scale * *(octet *)from;
    for (; length >= 4; length -= 4, from += 4, to += 4) *(quad *)to += scale * *(quad *)from;
    for (; length > 0; length--) *to++ += scale * *from++;
}

enum { LISTED = 512 };  /* gradients at a time; with one sample's input they stay in the cache */

/* The gradients of pool(convolution(x, w) + b), added to gw, gb and, unless it is NULL, gx.
   x, gx: [samples, height, width, channels]; w, gw: [outputs, rows, columns, channels];
   g, origin: [samples, pooled rows, pooled columns, outputs]. */
void gradients(int64_t samples, int64_t height, int64_t width, int64_t channels,
               int64_t outputs, int64_t rows, int64_t columns, const float *g,
               const int32_t *origin, const float *x, const float *w,
               float *gw, float *gb, float *gx)
{
    const int64_t pooled_rows = (height - rows + 1) / 2, pooled_columns = (width - columns + 1) / 2;
    const int64_t cells = pooled_rows * pooled_columns, stride = width * channels;
    const int64_t length = columns * channels;
    float scale[LISTED];
    int64_t at[LISTED];
    for (int64_t n = 0; n < samples; n++) {
        for (int64_t o = 0; o < outputs; o++) {
            int64_t i = 0, j = 0, cell = 0;
            while (cell < cells) {
                int64_t number = 0;
                for (; cell < cells && number < LISTED; cell++) {
                    const int32_t place = origin[cell * outputs + o];
                    scale[number] = g[cell * outputs + o];
                    at[number] = 2 * (i * stride + j * channels) + place;
                    number += place >= 0;
                    if (++j == pooled_columns) j = 0, i++;
                }
                for (int64_t k = 0; k < number; k++) gb[o] += scale[k];
                for (int64_t r = 0; r < rows; r++) {
                    const int64_t row = (o * rows + r) * length;
                    sum_patches(length, number, scale, at, x + r * stride, gw + row);
                    for (int64_t k = 0; gx && k < number; k++)
                        add_scaled(length, scale[k], w + row, gx + at[k] + r * stride);
                }
            }
        }
        g += cells * outputs, origin += cells * outputs, x += height * stride;
        if (gx) gx += height * stride;
    }
}
"""
# Compare NaN without ado; multiply and add in one.
_FLAGS = ("-fno-trapping-math", "-ffp-contract=fast")


@dataclass(frozen=True)
class CompiledPooling:
    """The compiled functions, for tensors.

    All tensors are float32, on the CPU, and contiguous channels last.
    """

    library: ctypes.CDLL

    def pool(self, y: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pool and rectify the output of a convolution.

        Args:
            y: The output, [N, O, H, W].
            images: The convolution's input, [N, C, H + rows - 1, W + columns - 1].

        Returns:
            relu(max_pool2d(y, 2)), [N, O, H // 2, W // 2]; and for `gradients` where each value
            came from.
        """
        n, outputs, height, width = y.shape
        shape = (n, outputs, height // 2, width // 2)
        out = torch.empty(shape, memory_format=torch.channels_last)
        origin = torch.empty_like(out, dtype=torch.int32)
        right = images.shape[1]
        sizes = (n, height, width, outputs, right, images.shape[3] * right)
        self.library.pool(*map(ctypes.c_int64, sizes), *map(_address, (y, out, origin)))
        return out, origin

    def gradients(
        self, gradient: Tensor, origin: Tensor, images: Tensor, weight: Tensor, of_images: bool
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """Return the gradients of the convolution's input (if wanted), weight and bias.

        Args:
            gradient: Of what `pool` returned, [N, O, H // 2, W // 2].
            origin: What it returned beside.
            images: The convolution's input, [N, C, H, W].
            weight: Its weight, [O, C, rows, columns].
            of_images: Whether the first is wanted.
        """
        of_weight = torch.zeros_like(weight)
        of_bias = weight.new_zeros(len(weight))
        of_input = torch.zeros_like(images) if of_images else None
        n, channels, height, width = images.shape
        sizes = (n, height, width, channels, len(weight), *weight.shape[2:])
        tensors = (gradient, origin, images, weight, of_weight, of_bias, of_input)
        self.library.gradients(*map(ctypes.c_int64, sizes), *map(_address, tensors))
        return of_input, of_weight, of_bias


def _address(tensor: Tensor | None) -> ctypes.c_void_p | None:
    return None if tensor is None else ctypes.c_void_p(tensor.data_ptr())


@lru_cache(maxsize=1)
def compiled_pooling() -> CompiledPooling | None:
    """Return the compiled functions, or `None` where there is no C compiler."""
    library = load_library("pooling", _SOURCE, _FLAGS)
    if library is None:
        return None
    library.pool.restype = library.gradients.restype = None
    return CompiledPooling(library)
