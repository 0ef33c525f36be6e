// Products of float32 matrices as three products of bfloat16 matrices, on the tiles of AMX.
//
// A number is the sum of a bfloat16 `high` and a bfloat16 `low`, up to 2^-17 of itself. Of the four
// products of two such sums low * low is left out. Sums are float32. So a product of float32
// matrices costs three of bfloat16, each eight times as fast as one of float32 with AVX-512.

#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

namespace {

constexpr long kTile = 16;   // rows of a tile
constexpr long kDepth = 32;  // bfloat16 numbers in a row of a tile
constexpr long kTileNumbers = kTile * kDepth;

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Memory of this thread, aligned to a tile's rows; it is kept for the next call.
inline uint16_t* scratch_memory(long numbers) {
  thread_local std::vector<uint16_t> memory;
  if (memory.size() < size_t(numbers) + 32) memory.resize(numbers + 32);
  return (uint16_t*)(((uintptr_t)memory.data() + 63) / 64 * 64);
}

inline long round_up(long value, long step) { return (value + step - 1) / step * step; }

// Splits 32 numbers into 32 bfloat16 each.
inline void split(__m512 first, __m512 second, __m512i* high, __m512i* low) {
  *high = (__m512i)_mm512_cvtne2ps_pbh(second, first);
  const __m512 first_high = _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(*high)), 16));
  const __m512 second_high = _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(*high, 1)), 16));
  *low = (__m512i)_mm512_cvtne2ps_pbh(_mm512_sub_ps(second, second_high),
                                      _mm512_sub_ps(first, first_high));
}

// The same into a tile of highs and the tile of lows behind it.
inline void split(__m512 first, __m512 second, uint16_t* to) {
  __m512i high, low;
  split(first, second, &high, &low);
  _mm512_store_si512(to, high);
  _mm512_store_si512(to + kTileNumbers, low);
}

// Loads 32 numbers, zeros beyond the `left` there are.
inline void load(const float* from, long left, __m512* first, __m512* second) {
  if (left >= kDepth) {
    *first = _mm512_loadu_ps(from);
    *second = _mm512_loadu_ps(from + 16);
  } else {
    const uint32_t mask = (1u << left) - 1;
    *first = _mm512_maskz_loadu_ps(mask & 0xffff, from);
    *second = _mm512_maskz_loadu_ps(mask >> 16, from + 16);
  }
}

// Those of 16 columns that are there, where `left` are.
inline __mmask16 mask_of(long left) {
  return left >= 16 ? 0xffff : left <= 0 ? 0 : (1u << left) - 1;
}

// Splits a row into row `row` of tiles: for each 16 rows and 32 columns a tile of highs, one of lows.
inline void split_row(const float* x, long columns, long row, uint16_t* tiles) {
  const long deep = round_up(columns, kDepth) / kDepth;
  uint16_t* high = tiles + (row / kTile) * deep * 2 * kTileNumbers + (row % kTile) * kDepth;
  for (long k = 0; k < deep; ++k, high += 2 * kTileNumbers) {
    __m512 first, second;
    load(x + k * kDepth, columns - k * kDepth, &first, &second);
    split(first, second, high);
  }
}

// Writes row n of a weight into its tiles: for each 32 outputs and 32 inputs two tiles of highs and
// two of lows, with pairs of inputs side by side.
inline void pack_row(const float* from, long n, long inputs, uint16_t* packed) {
  const long deep = round_up(inputs, kDepth) / kDepth;
  const __m512i places = _mm512_setr_epi32(0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192,
                                           208, 224, 240);
  uint16_t* tile = packed + n / 32 * deep * 4 * kTileNumbers + (n % 32) / kTile * kTileNumbers +
                   2 * (n % kTile);
  for (long k = 0; k < deep; ++k, tile += 4 * kTileNumbers) {
    __m512 first, second;
    __m512i high, low;
    load(from + k * kDepth, inputs - k * kDepth, &first, &second);
    split(first, second, &high, &low);
    _mm512_i32scatter_epi32(tile, places, high, 4);
    _mm512_i32scatter_epi32(tile + 2 * kTileNumbers, places, low, 4);
  }
}

// 32 rows of x times 32 columns of the weight, into the four tiles 0 to 3.
inline void multiply(const uint16_t* x, const uint16_t* weight, long deep, float* sums,
                     long stride = 32) {
  asm volatile("" ::: "memory");  // g++ does not know that loads of tiles read memory
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const uint16_t* below = x + deep * 2 * kTileNumbers;
  for (long k = 0; k < deep; ++k) {
    _tile_loadd(4, x, 64);
    _tile_loadd(6, weight, 64);
    _tile_loadd(5, below, 64);
    _tile_loadd(7, weight + kTileNumbers, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    _tile_loadd(6, weight + 2 * kTileNumbers, 64);
    _tile_loadd(7, weight + 3 * kTileNumbers, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    _tile_loadd(4, x + kTileNumbers, 64);
    _tile_loadd(6, weight, 64);
    _tile_loadd(5, below + kTileNumbers, 64);
    _tile_loadd(7, weight + kTileNumbers, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    x += 2 * kTileNumbers;
    below += 2 * kTileNumbers;
    weight += 4 * kTileNumbers;
  }
  _tile_stored(0, sums, 4 * stride);
  _tile_stored(1, sums + 16, 4 * stride);
  _tile_stored(2, sums + 16 * stride, 4 * stride);
  _tile_stored(3, sums + 16 * stride + 16, 4 * stride);
}

}  // namespace
