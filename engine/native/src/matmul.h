// Products of rows with packed matrices: x (rows, k) times w (k, n), where rows are few and the matrix is large.
//
// The method is that of GotoBLAS and BLIS: a micro-kernel, `tile`, keeps a block of sums in registers and runs along a
// packed panel (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008; Van Zee and van de
// Geijn, "BLIS", 2015). Of their loops only those over panels and rows are left: so few rows stay in the cache by
// themselves, and weights are read once, as fast as memory gives them. Each element of a product is summed up in one
// order, whatever the number of rows: a row's result never depends on its neighbours.
//
// int8: weights by column, rows by row, each to 127 steps (symmetric absmax quantisation); sums are exact, in 32 bits.
// int4: weights in groups of 32 with a scale each, rows as for int8. `reference.h` says the same in plain loops.
#pragma once

#include <algorithm>
#include <tuple>
#include <type_traits>

#include "inputs.h"

namespace beamhouse {

constexpr int kRows = kBytes == 64 ? 7 : 6;  // most rows of one tile: its sums must fit into the registers
constexpr int64_t kStretch = 64;             // units of one unbroken sum
constexpr int64_t kAhead = 4096;             // bytes that are fetched ahead of where a tile reads

// Calls `use` with a number of rows that the compiler knows.
template <class Use>
inline __attribute__((always_inline)) void with_rows(int rows, const Use& use) {
  static_assert(kRows <= 7);
  switch (rows) {
    case 1: return use(std::integral_constant<int, 1>{});
    case 2: return use(std::integral_constant<int, 2>{});
    case 3: return use(std::integral_constant<int, 3>{});
    case 4: return use(std::integral_constant<int, 4>{});
    case 5: return use(std::integral_constant<int, 5>{});
    case 6: return use(std::integral_constant<int, 6>{});
    default: return use(std::integral_constant<int, kRows>{});
  }
}

// A tile: M rows by C vectors of columns, over `units` units. x: rows, `row_units` apart; weights: `stride` bytes from
// one unit to the next; ahead: what to fetch meanwhile, P cache lines a unit; out: rows of `out_row` sums, to which
// those of the tile are added where Add is set.
template <class Kind, int M, int C, int P, bool Add>
inline __attribute__((always_inline)) void tile(Units x, int64_t row_units, const char* weights, int64_t stride,
                                                const char* ahead, int64_t units, void* out, int64_t out_row) {
  typename Kind::Sum sums[M][C];
  char* to = static_cast<char*>(out);
  for (int m = 0; m < M; m++)
    for (int c = 0; c < C; c++) sums[m][c] = typename Kind::Sum{};
  for (int64_t unit = 0; unit < units; unit++) {
    Words columns[C];
    for (int c = 0; c < C; c++) columns[c] = load_bits<Words>(weights + c * kBytes);
    for (int line = 0; line < P; line++) __builtin_prefetch(ahead + line * 64, 0, P == 4 ? 3 : 2);
    for (int m = 0; m < M; m++)
      for (int c = 0; c < C; c++) sums[m][c] = Kind::step(sums[m][c], columns[c], x[m * row_units + unit]);
    weights += stride;
    ahead += stride;
  }
  for (int m = 0; m < M; m++)
    for (int c = 0; c < C; c++) {
      char* at = to + (m * out_row + c * kLanes) * 4;
      store_bits(at, Add ? load_bits<typename Kind::Sum>(at) + sums[m][c] : sums[m][c]);
    }
}

// How many vectors of columns a tile of M rows may have, so that its sums stay in the registers.
constexpr int columns_for(int rows, int vectors) {
  const int room = kBytes == 64 ? 28 : 12;
  int columns = vectors;
  while (columns > 1 && columns * rows > room) columns = (columns + 1) / 2;
  return columns;
}

// M rows by V vectors of columns, in tiles as wide as the registers allow.
template <class Kind, int M, int V, int P, bool Add>
inline void rows_by_vectors(Units x, int64_t row_units, const char* weights, int64_t stride, const char* ahead,
                            int64_t units, void* out, int64_t out_row) {
  constexpr int C = columns_for(M, V);
  static_assert(V % C == 0);
  tile<Kind, M, C, P, Add>(x, row_units, weights, stride, ahead, units, out, out_row);
  for (int c = C; c < V; c += C)
    tile<Kind, M, C, 0, Add>(x, row_units, weights + c * kBytes, stride, ahead, units,
                             static_cast<char*>(out) + c * kBytes, out_row);
}

// A tile of four-bit weights, of C vectors of columns from `first` on: each group is summed up as whole numbers, then
// weighed by its scale. x: bytes with a sign; sums: of each row and group, eight times the sum of its bytes, since the
// weights are stored eight too large.
template <int M, int C>
inline __attribute__((always_inline)) void nibble_tile(Units x, int64_t row_units, const int32_t* sums,
                                                       const char* weights, int first, int64_t groups, float* out) {
  Floats totals[M][C];
  for (int m = 0; m < M; m++)
    for (int c = 0; c < C; c++) totals[m][c] = Floats{};
  for (int64_t group = 0; group < groups; group++) {
    Ints parts[M][C];
    for (int m = 0; m < M; m++)
      for (int c = 0; c < C; c++) parts[m][c] = Ints{} - sums[m * groups + group];
    for (int pair = 0; pair < 4; pair++) {
      if (C == kVectors)
        for (int line = 0; line < kPanel * 4; line += 64)
          __builtin_prefetch(weights + kAhead + pair * kPanel * 4 + line);
      for (int c = 0; c < C; c++) {
        const Words both = load_bits<Words>(weights + pair * kPanel * 4 + (first + c) * kBytes);
        const Words low = both & 0x0f0f0f0fu, high = (both >> 4) & 0x0f0f0f0fu;
        for (int m = 0; m < M; m++) {
          const Units from = x + m * row_units + group * 8 + pair * 2;
          parts[m][c] = I4::step(I4::step(parts[m][c], low, from[0]), high, from[1]);
        }
      }
    }
    const char* scales = weights + 4 * kPanel * 4;
    for (int c = 0; c < C; c++) {
      const Floats scale = load(reinterpret_cast<const bf16*>(scales + (first + c) * kBytes / 2));
      for (int m = 0; m < M; m++) totals[m][c] = totals[m][c] + __builtin_convertvector(parts[m][c], Floats) * scale;
    }
    weights += kGroupBytes;
  }
  for (int m = 0; m < M; m++)
    for (int c = 0; c < C; c++) store(out + m * kPanel + c * kLanes, totals[m][c]);
}

// One panel of four-bit weights times some rows.
inline void nibble_panel(const Matrix& w, int64_t panel, const Input& x, int64_t row, int rows, float (*out)[kPanel]) {
  const int64_t groups = w.k / kNibbles;
  const char* weights = w.data + panel * panel_bytes(w);
  const Units from = x.units + row * x.row_units;
  const int32_t* sums = x.sums + row * groups;
  with_rows(rows, [&](auto m) {
    constexpr int C = columns_for(2 * m.value, kVectors);
    for (int c = 0; c < kVectors; c += C)
      nibble_tile<m.value, C>(from, x.row_units, sums, weights, c, groups, &out[0][c * kLanes]);
  });
  for (int m = 0; m < rows; m++)
    for (int c = 0; c < kPanel; c += kLanes) store(&out[m][c], load(&out[m][c]) * x.scales[row + m]);
}

inline void scale_bytes(const Matrix& w, int64_t column, const float* scales, int rows, float (*out)[kPanel]) {
  for (int m = 0; m < rows; m++)
    for (int c = 0; c < kPanel; c += kLanes) {
      Ints sums = load_bits<Ints>(&out[m][c]) - load_bits<Ints>(w.offsets + column + c);
      store(&out[m][c], __builtin_convertvector(sums, Floats) * load(w.scales + column + c) * scales[m]);
    }
}

// One stretch of a panel, of `units` units, times rows of which the compiler knows how many. passes: see `panel_times`;
// the fewer there are, the more of what is read next each of them has to fetch.
template <class Kind, int M, bool Add>
inline void stretch(Units x, int64_t row_units, const char* weights, int64_t units, int64_t pass, int64_t passes,
                    const char* next_panel, float* out) {
  const int64_t stride = bytes_per_unit_row();
  if (passes == 1)
    rows_by_vectors<Kind, M, kVectors, 4, Add>(x, row_units, weights, stride, weights + kAhead, units, out, kPanel);
  else if (passes < 4)
    rows_by_vectors<Kind, M, kVectors, 2, Add>(x, row_units, weights, stride, next_panel + pass % 2 * 128, units, out,
                                               kPanel);
  else
    rows_by_vectors<Kind, M, kVectors, 1, Add>(x, row_units, weights, stride, next_panel + pass % 4 * 64, units, out,
                                               kPanel);
}

// One panel times some rows (at most kRows), as floats. pass, passes: which of how many groups of rows this is; each
// fetches its part of the next panel while it computes. Sums are begun anew every kStretch units, and their totals
// added up (blocked summation): a long sum of floats would lose more.
template <class Kind>
inline void panel_times(const Matrix& w, int64_t panel, const Input& x, int64_t row, int rows, int64_t pass,
                        int64_t passes, float (*out)[kPanel]) {
  const int64_t units = w.k / Kind::kPerUnit, bytes = panel_bytes(w);
  const char* weights = w.data + panel * bytes;
  const Units from = x.units + row * x.row_units;
  with_rows(rows, [&](auto m) {
    for (int64_t unit = 0; unit < units; unit += kStretch) {
      const int64_t count = std::min(kStretch, units - unit);
      const char* begin = weights + unit * bytes_per_unit_row();
      if (unit == 0)
        stretch<Kind, m.value, false>(from, x.row_units, begin, count, pass, passes, begin + bytes, out[0]);
      else
        stretch<Kind, m.value, true>(from + unit, x.row_units, begin, count, pass, passes, begin + bytes, out[0]);
    }
  });
  if (w.format == kInt8) scale_bytes(w, panel * kPanel, x.scales + row, rows, out);
}

inline void add_bias(const Matrix& w, int64_t panel, int rows, float (*out)[kPanel]) {
  if (w.bias)
    for (int m = 0; m < rows; m++)
      for (int c = 0; c < kPanel; c += kLanes) store(&out[m][c], load(&out[m][c]) + load(w.bias + panel * kPanel + c));
}

// Which panels of a matrix: `count` of them from `first` on, each `step` after the one before.
struct Panels {
  int64_t first, count, step;
};

// Some panels times all rows, each with the Width - 1 panels beside it: `use(panel, row, rows, out)` gets Width blocks
// of sums. To be called by every thread of the team; ends without a barrier.
template <class Kind, int Width, class Use>
inline void multiply(Team& team, const Matrix& w, const Input& x, int64_t num_rows, const Panels& panels,
                     const Use& use) {
  const int64_t total = panels.count, passes = (num_rows + kRows - 1) / kRows;
  const int64_t piece = std::max<int64_t>(1, total / (team.size * 4));
  alignas(64) float out[Width][kRows][kPanel];
  for (auto [begin, end] = team.take(total, piece); begin < end; std::tie(begin, end) = team.take(total, piece))
    for (int64_t number = begin; number < end; number++) {
      const int64_t panel = panels.first + number * panels.step;
      int64_t row = 0;
      for (int64_t pass = 0; pass < passes; pass++) {
        const int rows = int((num_rows - row + passes - pass - 1) / (passes - pass));
        for (int side = 0; side < Width; side++) {
          if constexpr (std::is_same_v<Kind, I4>)
            nibble_panel(w, panel + side, x, row, rows, out[side]);
          else
            panel_times<Kind>(w, panel + side, x, row, rows, pass, passes, out[side]);
          add_bias(w, panel + side, rows, out[side]);
        }
        use(panel, row, rows, out);
        row += rows;
      }
    }
}

// `use` as in `multiply`, whatever the matrix's format.
template <class T, int Width, class Use>
inline void multiply_any(Team& team, const Matrix& w, const Input& x, int64_t num_rows, const Panels& panels,
                         const Use& use) {
  if (w.format == kInt8)
    multiply<I8, Width>(team, w, x, num_rows, panels, use);
  else if (w.format == kInt4)
    multiply<I4, Width>(team, w, x, num_rows, panels, use);
  else
    multiply<typename KindOf<T>::Kind, Width>(team, w, x, num_rows, panels, use);
}

// Copies sums to rows of T: columns [column, column + 64) cut to [begin, end), written from `to` on.
template <class T>
inline void write_columns(const float (*out)[kPanel], int rows, int64_t column, int64_t begin, int64_t end, T* to,
                          int64_t to_row) {
  const int64_t from = std::max(begin, column), until = std::min(end, column + kPanel);
  for (int m = 0; m < rows; m++) {
    T* row = to + m * to_row + from - begin;
    const float* sums = out[m] + from - column;
    int64_t c = 0, count = until - from;
    for (; c + kLanes <= count; c += kLanes) store(row + c, load(sums + c));
    for (; c < count; c++) row[c] = from_float<T>(sums[c]);
  }
}

}  // namespace beamhouse
