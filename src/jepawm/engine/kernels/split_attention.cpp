// Attention in one pass: of single tokens to a few, and of many tokens by products on tiles.

#include "tiles.hpp"

namespace {

// 2^x for x <= 0, to 3e-7 of itself
inline __m512 power_of_two(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, 0);
  const __m512 part = _mm512_sub_ps(x, whole);
  __m512 sum = _mm512_set1_ps(1.33335581e-3f);
  for (float c : {9.61812911e-3f, 5.55041087e-2f, 2.40226507e-1f, 6.93147181e-1f, 1.0f})
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(c));
  return _mm512_scalef_ps(sum, whole);
}

// Writes values s and s + 1 (null: zeros) into the tiles of a weight whose inputs are the values,
// `deep` tiles of them.
inline void pack_values(const float* one, const float* other, long s, long width, long deep,
                        uint16_t* packed) {
  for (long n = 0; n < width; n += 16) {
    const __mmask16 mask = mask_of(width - n);
    __m512i split_in_two[2];
    split(one ? _mm512_maskz_loadu_ps(mask, one + n) : _mm512_setzero_ps(),
          other ? _mm512_maskz_loadu_ps(mask, other + n) : _mm512_setzero_ps(), split_in_two,
          split_in_two + 1);
    uint16_t* tile = packed + (n / 32 * deep + s / kDepth) * 4 * kTileNumbers +
                     n % 32 / 16 * kTileNumbers + s % kDepth / 2 * kDepth;
    for (long low = 0; low < 2; ++low) {
      const __m512i first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(split_in_two[low]));
      const __m512i second = _mm512_slli_epi32(
          _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(split_in_two[low], 1)), 16);
      _mm512_store_si512(tile + low * 2 * kTileNumbers, _mm512_or_si512(first, second));
    }
  }
}

// Splits 2^(score - largest) of a row into tiles; returns the sum.
inline float softmax_row(const float* scores, long count, long row, uint16_t* tiles) {
  const long deep = round_up(count, kDepth) / kDepth;
  __m512 most = _mm512_set1_ps(-INFINITY);
  for (long i = 0; i < count; i += 16)
    most = _mm512_mask_max_ps(most, mask_of(count - i), most, _mm512_load_ps(scores + i));
  most = _mm512_set1_ps(_mm512_reduce_max_ps(most));
  __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  uint16_t* to = tiles + row / kTile * deep * 2 * kTileNumbers + row % kTile * kDepth;
  for (long i = 0; i < count; i += kDepth, to += 2 * kTileNumbers) {
    __m512 shares[2];
    for (long half = 0; half < 2; ++half) {
      const __m512 apart = _mm512_sub_ps(_mm512_load_ps(scores + i + 16 * half), most);
      shares[half] =
          _mm512_maskz_mov_ps(mask_of(count - i - 16 * half), power_of_two(apart));
      sums[half] = _mm512_add_ps(sums[half], shares[half]);
    }
    split(shares[0], shares[1], to);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
}

}  // namespace

extern "C" {

// Keys or values of one frame in some windows: [windows, candidates, heads * width].
struct Part {
  const float* start;
  long window_stride;
  long candidate_stride;
  long windows;
};

// Attention of single tokens [windows, candidates, heads * width] to a few; part s is seen from the
// last parts[s].windows windows. First come the keys, then the values.
void jepawm_attend(const Part* query, const Part* parts, long count, long candidates, long heads,
                   long width, float* out) {
  const float scale = 1.0f / std::sqrt(float(width));
  const long windows = query->windows;
  std::vector<float> scores(count);
  for (long v = 0; v < windows; ++v) {
    for (long r = 0; r < candidates; ++r) {
      for (long head = 0; head < heads; ++head, out += width) {
        const float* asked =
            query->start + v * query->window_stride + r * query->candidate_stride + head * width;
        float most = -INFINITY, total = 0.0f;
        for (long s = 0; s < count; ++s) {
          const long window = v - (windows - parts[s].windows);
          scores[s] = -INFINITY;
          if (window < 0) continue;
          const float* key = parts[s].start + window * parts[s].window_stride +
                             r * parts[s].candidate_stride + head * width;
          __m512 sum = _mm512_setzero_ps();
          for (long i = 0; i < width; i += 16) {
            const __mmask16 mask = mask_of(width - i);
            sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, asked + i),
                                  _mm512_maskz_loadu_ps(mask, key + i), sum);
          }
          scores[s] = scale * _mm512_reduce_add_ps(sum);
          most = scores[s] > most ? scores[s] : most;
        }
        for (long s = 0; s < count; ++s) total += scores[s] = std::exp(scores[s] - most);
        for (long i = 0; i < width; i += 16) {
          const __mmask16 mask = mask_of(width - i);
          __m512 sum = _mm512_setzero_ps();
          for (long s = 0; s < count; ++s) {
            const Part& value = parts[count + s];
            const long window = v - (windows - value.windows);
            if (window < 0) continue;
            const float* from = value.start + window * value.window_stride +
                                r * value.candidate_stride + head * width;
            sum = _mm512_fmadd_ps(_mm512_set1_ps(scores[s] / total),
                                  _mm512_maskz_loadu_ps(mask, from + i), sum);
          }
          _mm512_mask_storeu_ps(out + i, mask, sum);
        }
      }
    }
  }
}

// Queries, keys or values of some tokens: [batch, count, heads * width].
struct Tokens {
  const float* start;
  long batch_stride;
  long token_stride;
  long count;
};

// out [batch, queries, heads * width] = softmax(query key^T width^-1/2) value. Keys and values lie in
// `count` parts each; first come the keys, then the values.
void jepawm_attend_many(const Tokens* query, const Tokens* parts, long count, long batch, long heads,
                        long width, float* out) {
  long seen = 0;
  for (long part = 0; part < count; ++part) seen += parts[part].count;
  const long wide = round_up(width, kDepth), deep = wide / kDepth;
  const long padded = round_up(seen, kDepth), deep_seen = padded / kDepth;
  const long asking = round_up(query->count, 32), stride = padded + 16;  // no power of two
  uint16_t* keys =
      scratch_memory(4 * padded * wide + 2 * asking * wide + 2 * 32 * padded + 2 * 32 * stride + 2 * wide);
  uint16_t* values = keys + 2 * padded * wide;
  uint16_t* queries = values + 2 * padded * wide;
  uint16_t* shares = queries + 2 * asking * wide;
  float* scores = (float*)(shares + 2 * 32 * padded);
  float* scaled = scores + 32 * stride;
  const __m512 scale = _mm512_set1_ps(1.44269504f / std::sqrt(float(width)));  // powers of 2, not e
  const TileConfig config;
  _tile_loadconfig(&config);
  alignas(64) float sums[32 * 32];
  float inverse[32];
  std::vector<const float*> rows(2 * padded, nullptr);
  std::memset(keys, 0, sizeof(uint16_t) * 4 * padded * wide);
  for (long item = 0; item < batch * heads; ++item) {
    const long b = item / heads, channel = item % heads * width;
    for (long part = 0, s = 0; part < 2 * count; ++part) {
      if (part == count) s = padded;
      const Tokens& from = parts[part];
      for (long i = 0; i < from.count; ++i, ++s)
        rows[s] = from.start + b * from.batch_stride + i * from.token_stride + channel;
    }
    for (long s = 0; s < seen; ++s) pack_row(rows[s], s, width, keys);
    for (long s = 0; s < seen; s += 2)
      pack_values(rows[padded + s], rows[padded + s + 1], s, width, deep_seen, values);
    for (long row = 0; row < query->count; ++row) {
      const float* from =
          query->start + b * query->batch_stride + row * query->token_stride + channel;
      for (long i = 0; i < width; i += 16)
        _mm512_mask_storeu_ps(
            scaled + i, mask_of(width - i),
            _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(mask_of(width - i), from + i)));
      split_row(scaled, width, row, queries);
    }
    for (long top = 0; top < query->count; top += 32) {
      const long height = query->count - top < 32 ? query->count - top : 32;
      for (long n = 0; n < padded; n += 32)
        multiply(queries + top / kTile * deep * 2 * kTileNumbers,
                 keys + n / 32 * deep * 4 * kTileNumbers, deep, scores + n, stride);
      for (long row = 0; row < height; ++row)
        inverse[row] = 1.0f / softmax_row(scores + row * stride, seen, row, shares);
      for (long n = 0; n < width; n += 32) {
        multiply(shares, values + n / 32 * deep_seen * 4 * kTileNumbers, deep_seen, sums);
        for (long row = 0; row < height; ++row) {
          float* to = out + (b * query->count + top + row) * heads * width + channel + n;
          for (long half = 0; half < 2; ++half)
            _mm512_mask_storeu_ps(to + 16 * half, mask_of(width - n - 16 * half),
                                  _mm512_mul_ps(_mm512_load_ps(sums + 32 * row + 16 * half),
                                                _mm512_set1_ps(inverse[row])));
        }
      }
    }
  }
  _tile_release();
}
}
