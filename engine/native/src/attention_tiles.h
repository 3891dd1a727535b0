// Tiles of attention: rows of queries by sub-blocks of keys, and rows of weights by sub-blocks of values.
//
// A row alone has one sum for each vector of columns, and every step of a sum waits for the one before. A tile
// therefore takes in as many sub-blocks at once as its registers allow. Each element is still summed up in one order,
// whatever the tile.
#pragma once

#include "matmul.h"

namespace beamhouse {

constexpr int kKeys = 16;                   // positions of a sub-block
constexpr int kGroup = 64;                  // positions between two corrections of the softmax
constexpr int kSubBlocks = kGroup / kKeys;  // sub-blocks of a group

// How many sub-blocks a tile of M rows by C vectors may take in.
constexpr int sub_blocks_for(int rows, int vectors, int most) {
  const int room = kBytes == 64 ? 28 : 12;
  int count = most;
  while (count > 1 && count * vectors * rows > room) count /= 2;
  return count;
}

// The logits of M rows with S sub-blocks of keys. x: queries, `units` apart; out: rows of kGroup.
template <class Kind, int M, int S, int C>
inline __attribute__((always_inline)) void key_tile(Units x, int64_t units, const char* const* keys, int64_t column,
                                                    float* out) {
  Floats sums[M][S][C];
  for (int m = 0; m < M; m++)
    for (int s = 0; s < S; s++)
      for (int c = 0; c < C; c++) sums[m][s][c] = Floats{};
  for (int64_t unit = 0; unit < units; unit++) {
    Words columns[S][C];
    for (int s = 0; s < S; s++)
      for (int c = 0; c < C; c++) columns[s][c] = load_bits<Words>(keys[s] + (unit * kKeys + column) * 4 + c * kBytes);
    for (int m = 0; m < M; m++)
      for (int s = 0; s < S; s++)
        for (int c = 0; c < C; c++) sums[m][s][c] = Kind::step(sums[m][s][c], columns[s][c], x[m * units + unit]);
  }
  for (int m = 0; m < M; m++)
    for (int s = 0; s < S; s++)
      for (int c = 0; c < C; c++) store(out + m * kGroup + s * kKeys + column + c * kLanes, sums[m][s][c]);
}

// The same with `count` sub-blocks, at most Most at once.
template <class Kind, int M, int Most>
inline void key_tiles(Units x, int64_t units, const char* const* keys, int count, float* out) {
  constexpr int C = columns_for(M, kKeys / kLanes), S = sub_blocks_for(M, C, Most);
  int first = 0;
  for (; first + S <= count; first += S)
    for (int column = 0; column < kKeys; column += C * kLanes)
      key_tile<Kind, M, S, C>(x, units, keys + first, column, out + first * kKeys);
  if constexpr (S > 1)
    if (first < count) key_tiles<Kind, M, S / 2>(x, units, keys + first, count - first, out + first * kKeys);
}

// Adds M weighted sums over S sub-blocks of values to out, rows of `dim`, by C vectors from number d on. x: weights,
// rows of kGroup positions.
template <class Kind, int M, int S, int C>
inline __attribute__((always_inline)) void value_tile(Units x, const char* const* values, int64_t dim, int64_t d,
                                                      float* out) {
  constexpr int kUnits = kKeys / Kind::kPerUnit, kRowUnits = kGroup / Kind::kPerUnit;
  Floats sums[S][M][C];
  for (int s = 0; s < S; s++)
    for (int m = 0; m < M; m++)
      for (int c = 0; c < C; c++) sums[s][m][c] = Floats{};
  for (int unit = 0; unit < kUnits; unit++)
    for (int s = 0; s < S; s++) {
      Words columns[C];
      for (int c = 0; c < C; c++) columns[c] = load_bits<Words>(values[s] + (unit * dim + d) * 4 + c * kBytes);
      for (int m = 0; m < M; m++)
        for (int c = 0; c < C; c++)
          sums[s][m][c] = Kind::step(sums[s][m][c], columns[c], x[m * kRowUnits + s * kUnits + unit]);
    }
  for (int m = 0; m < M; m++)
    for (int c = 0; c < C; c++) {
      float* at = out + m * dim + d + c * kLanes;
      Floats total = load(at);
      for (int s = 0; s < S; s++) total = total + sums[s][m][c];
      store(at, total);
    }
}

// The same with `count` sub-blocks, at most Most at once, by V vectors.
template <class Kind, int M, int V, int Most = kSubBlocks>
inline void value_tiles(Units x, const char* const* values, int count, int64_t dim, int64_t d, float* out) {
  constexpr int C = columns_for(M, V), S = sub_blocks_for(M, C, Most);
  int first = 0;
  for (; first + S <= count; first += S)
    for (int c = 0; c < V; c += C)
      value_tile<Kind, M, S, C>(x + first * (kKeys / Kind::kPerUnit), values + first, dim, d + c * kLanes, out);
  if constexpr (S > 1)
    if (first < count)
      value_tiles<Kind, M, V, S / 2>(x + first * (kKeys / Kind::kPerUnit), values + first, count - first, dim, d, out);
}

}  // namespace beamhouse
