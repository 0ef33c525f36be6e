// Affine maps and the second half of a block, by products on tiles.

#include <sys/syscall.h>
#include <unistd.h>

#include "tiles.hpp"

namespace {

// More numbers than these (4 MiB) go past the caches, which would first read what they overwrite.
constexpr long kStreamedNumbers = 1024 * 1024;
constexpr long kPanelNumbers = 256 * 1024;  // numbers that are split at a time: 1 MiB of the L2 cache

// The normal distribution function: polynomials of degree 4 in 32 intervals, to 1e-7.
struct NormalTable {
  static constexpr float kEnd = 5.6f, kPerUnit = 16 / 5.6f;
  alignas(64) float coefficients[5][32];

  NormalTable() {
    constexpr double kPi = 3.141592653589793;
    for (int i = 0; i < 32; ++i) {
      double at[5], value[5], power[5] = {};
      for (int j = 0; j < 5; ++j) {  // Chebyshev's points; divided differences after Newton
        at[j] = 0.5 * std::cos(kPi * (2 * j + 1) / 10);
        value[j] = 0.5 * std::erfc((kEnd - (i + 0.5 + at[j]) / kPerUnit) * std::sqrt(0.5));
      }
      for (int order = 1; order < 5; ++order)
        for (int j = 4; j >= order; --j)
          value[j] = (value[j] - value[j - 1]) / (at[j] - at[j - order]);
      for (int j = 4; j >= 0; --j) {
        for (int k = 4; k > 0; --k) power[k] = power[k - 1] - at[j] * power[k];
        power[0] = value[j] - at[j] * power[0];
      }
      for (int k = 0; k < 5; ++k) coefficients[k][i] = float(power[k]);
    }
  }
};

const NormalTable kNormal;

// x Phi(x)
inline __m512 gelu(__m512 x) {
  // What is less gives 0; of a NaN and a number these return the second, so x comes second.
  x = _mm512_max_ps(_mm512_set1_ps(-NormalTable::kEnd), x);
  const __m512 place = _mm512_fmadd_ps(
      _mm512_min_ps(_mm512_set1_ps(NormalTable::kEnd * 0.999999f), x),
      _mm512_set1_ps(NormalTable::kPerUnit), _mm512_set1_ps(16.0f));
  const __m512i index = _mm512_cvttps_epi32(place);
  const __m512 from =
      _mm512_sub_ps(place, _mm512_add_ps(_mm512_cvtepi32_ps(index), _mm512_set1_ps(0.5f)));
  __m512 sum = _mm512_setzero_ps();
  for (int k = 4; k >= 0; --k) {
    const __m512 one = _mm512_permutex2var_ps(_mm512_load_ps(kNormal.coefficients[k]), index,
                                              _mm512_load_ps(kNormal.coefficients[k] + 16));
    sum = _mm512_fmadd_ps(sum, from, one);
  }
  return _mm512_mul_ps(x, sum);
}

// The bias of 16 columns from `column`, and which of them there are.
struct Columns {
  __mmask16 mask;
  __m512 bias;

  Columns(const float* all, long column, long count) {
    mask = mask_of(count - column);
    bias = all ? _mm512_maskz_loadu_ps(mask, all + column) : _mm512_setzero_ps();
  }
};

// out = x + gate * attended; a null gate is 1.
inline void add_gated(const float* x, const float* attended, const float* gate, long width,
                      float* out) {
  for (long i = 0; i < width; i += 16) {
    const __mmask16 mask = mask_of(width - i);
    const __m512 factor = gate ? _mm512_maskz_loadu_ps(mask, gate + i) : _mm512_set1_ps(1.0f);
    const __m512 found = _mm512_maskz_loadu_ps(mask, attended + i);
    const __m512 sum = _mm512_fmadd_ps(factor, found, _mm512_maskz_loadu_ps(mask, x + i));
    _mm512_mask_storeu_ps(out + i, mask, sum);
  }
}

// out = LN(x) * scale + shift, where these are not null.
inline void normalize(const float* x, long width, const float* weight, const float* bias, float eps,
                      const float* shift, const float* scale, float* out) {
  __m512 sum = _mm512_setzero_ps();
  for (long i = 0; i < width; i += 16)
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask_of(width - i), x + i));
  const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / width);
  __m512 squares = _mm512_setzero_ps();
  for (long i = 0; i < width; i += 16) {
    const __mmask16 mask = mask_of(width - i);
    const __m512 apart = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, x + i), mean);
    squares = _mm512_fmadd_ps(apart, apart, squares);
  }
  const float variance = _mm512_reduce_add_ps(squares) / width;
  const __m512 inverse = _mm512_set1_ps(1.0f / std::sqrt(variance + eps));
  for (long i = 0; i < width; i += 16) {
    const __mmask16 mask = mask_of(width - i);
    const __m512 apart = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), mean);
    __m512 value = _mm512_fmadd_ps(_mm512_mul_ps(apart, inverse),
                                   _mm512_maskz_loadu_ps(mask, weight + i),
                                   _mm512_maskz_loadu_ps(mask, bias + i));
    if (scale)
      value = _mm512_fmadd_ps(value, _mm512_maskz_loadu_ps(mask, scale + i),
                              _mm512_maskz_loadu_ps(mask, shift + i));
    _mm512_mask_storeu_ps(out + i, mask, value);
  }
}

// Rows of a panel that are split at a time, so that they stay in the L2 cache.
long panel_rows(long columns, long most) {
  const long rows = kPanelNumbers / columns / 32 * 32;
  return rows < 32 ? 32 : rows > most ? most : rows;
}

}  // namespace

extern "C" {

// Asks the kernel for the tiles; returns 0 where there are none.
int jepawm_has_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Numbers (2 bytes each) of a packed weight.
long jepawm_packed_size(long outputs, long inputs) {
  return 2 * round_up(outputs, 2 * kTile) * round_up(inputs, kDepth);
}

// Packs a weight [outputs, inputs].
void jepawm_pack(const float* weight, long outputs, long inputs, uint16_t* packed) {
  std::memset(packed, 0, sizeof(uint16_t) * jepawm_packed_size(outputs, inputs));
  for (long n = 0; n < outputs; ++n) pack_row(weight + n * inputs, n, inputs, packed);
}

// out [rows, outputs] = x [rows, inputs] weight^T + bias, through GELU if wanted; `bias` may be null.
void jepawm_linear(const float* x, long rows, long inputs, const uint16_t* packed,
                   const float* bias, long outputs, int with_gelu, float* out) {
  const long wide = round_up(inputs, kDepth), deep = wide / kDepth;
  const long panel = panel_rows(wide, 512);
  const bool streams =
      rows * outputs > kStreamedNumbers && outputs % 32 == 0 && (uintptr_t)out % 64 == 0;
  uint16_t* tiles = scratch_memory(2 * panel * wide);
  const TileConfig config;
  _tile_loadconfig(&config);
  alignas(64) float sums[32 * 32];
  for (long top = 0; top < rows; top += panel) {
    const long height = rows - top < panel ? rows - top : panel;
    for (long row = 0; row < height; ++row) split_row(x + (top + row) * inputs, inputs, row, tiles);
    for (long n = 0; n < outputs; n += 32) {
      const Columns columns[2] = {{bias, n, outputs}, {bias, n + 16, outputs}};
      for (long row = 0; row < height; row += 32) {
        for (long i = 0; !streams && i < 32 && row + i < height; ++i) {  // while the tiles work
          const float* to = out + (top + row + i) * outputs + n;
          __builtin_prefetch(to, 1);
          __builtin_prefetch(to + 16, 1);
        }
        multiply(tiles + row / kTile * deep * 2 * kTileNumbers,
                 packed + n / 32 * deep * 4 * kTileNumbers, deep, sums);
        for (long i = 0; i < 32 && row + i < height; ++i) {
          float* to = out + (top + row + i) * outputs + n;
          for (long half = 0; half < 2; ++half) {
            __m512 value = _mm512_load_ps(sums + 32 * i + 16 * half);
            value = _mm512_add_ps(value, columns[half].bias);
            if (with_gelu) value = gelu(value);
            if (streams)
              _mm512_stream_ps(to + 16 * half, value);
            else
              _mm512_mask_storeu_ps(to + 16 * half, columns[half].mask, value);
          }
        }
      }
    }
  }
  if (streams) _mm_sfence();
  _tile_release();
}

// What AdaLN makes of a condition: row r of the tokens has row (r / tokens) % count of the codes.
struct Codes {
  const float* parts[4];  // gate1, shift2, scale2, gate2
  long strides[4];        // from row to row of each
  long count;
  long tokens;
};

const float* find_code(const Codes* codes, long part, long row) {
  return codes ? codes->parts[part] + row / codes->tokens % codes->count * codes->strides[part]
               : nullptr;
}

// The second half of a block, x [rows, width] to out [rows, width]:
// y = x + gate1 * attended, out = y + gate2 * MLP(LN(y) * scale2 + shift2); `codes` may be null.
void jepawm_leave(const float* x, const float* attended, long rows, long width,
                  const float* norm_weight, const float* norm_bias, float eps, const Codes* codes,
                  const uint16_t* weight1, const float* bias1, long hidden, const uint16_t* weight2,
                  const float* bias2, float* out) {
  const long wide = round_up(width, kDepth), deep = wide / kDepth;
  const long wide2 = round_up(hidden, kDepth), deep2 = wide2 / kDepth;
  const long panel = panel_rows(wide2, 256);
  uint16_t* tiles = scratch_memory(2 * panel * (wide + wide2) + 2 * wide);
  uint16_t* tiles2 = tiles + 2 * panel * wide;
  float* normed = (float*)(tiles2 + 2 * panel * wide2);
  const TileConfig config;
  _tile_loadconfig(&config);
  alignas(64) float sums[32 * 32];
  for (long top = 0; top < rows; top += panel) {
    const long height = rows - top < panel ? rows - top : panel;
    for (long row = 0; row < height; ++row) {
      const long at = (top + row) * width;
      add_gated(x + at, attended + at, find_code(codes, 0, top + row), width, out + at);
      normalize(out + at, width, norm_weight, norm_bias, eps, find_code(codes, 1, top + row),
                find_code(codes, 2, top + row), normed);
      split_row(normed, width, row, tiles);
    }
    for (long n = 0; n < hidden; n += 32) {
      const Columns first(bias1, n, hidden), second(bias1, n + 16, hidden);
      for (long row = 0; row < height; row += 32) {
        multiply(tiles + row / kTile * deep * 2 * kTileNumbers,
                 weight1 + n / 32 * deep * 4 * kTileNumbers, deep, sums);
        uint16_t* to = tiles2 + (row / kTile * deep2 + n / 32) * 2 * kTileNumbers;
        for (long i = 0; i < 32; ++i) {
          uint16_t* high = to + i / kTile * deep2 * 2 * kTileNumbers + i % kTile * kDepth;
          split(gelu(_mm512_add_ps(_mm512_load_ps(sums + 32 * i), first.bias)),
                gelu(_mm512_add_ps(_mm512_load_ps(sums + 32 * i + 16), second.bias)), high);
        }
      }
    }
    for (long n = 0; n < width; n += 32) {
      const Columns columns[2] = {{bias2, n, width}, {bias2, n + 16, width}};
      for (long row = 0; row < height; row += 32) {
        multiply(tiles2 + row / kTile * deep2 * 2 * kTileNumbers,
                 weight2 + n / 32 * deep2 * 4 * kTileNumbers, deep2, sums);
        for (long i = 0; i < 32 && row + i < height; ++i) {
          const long r = top + row + i;
          const float* gate = find_code(codes, 3, r);
          for (long half = 0; half < 2; ++half) {
            const __mmask16 mask = columns[half].mask;
            float* to = out + r * width + n + 16 * half;
            const __m512 value =
                _mm512_add_ps(_mm512_load_ps(sums + 32 * i + 16 * half), columns[half].bias);
            const __m512 factor = gate ? _mm512_maskz_loadu_ps(mask, gate + n + 16 * half)
                                       : _mm512_set1_ps(1.0f);
            const __m512 before = _mm512_maskz_loadu_ps(mask, to);
            _mm512_mask_storeu_ps(to, mask, _mm512_fmadd_ps(factor, value, before));
          }
        }
      }
    }
  }
  _tile_release();
}
}
