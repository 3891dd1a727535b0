// Products of rows with packed matrices.
//
// A matrix of n columns and k rows is cut into panels of 64 columns. A panel lies in one piece, unit after unit of
// four bytes: for each unit of k, the units of its 64 columns. Whoever multiplies thus reads memory straight ahead. Each
// element of a product is summed up in one order, whatever the number of rows: a row's result never depends on its
// neighbours.
#pragma once

#include <algorithm>
#include <tuple>
#include <type_traits>
#include <vector>

#include "team.h"
#include "vectors.h"

namespace beamhouse {

constexpr int kPanel = 64;                     // columns of a panel
constexpr int kVectors = kPanel / kLanes;      // vectors of a row of a panel
constexpr int kRows = kBytes == 64 ? 7 : 6;    // most rows of one tile: its sums must fit into the registers
constexpr int64_t kStretch = 64;               // units of one unbroken sum
constexpr int64_t kAhead = 4096;               // bytes that are fetched ahead of where a tile reads

constexpr int64_t kNibbles = 32;                        // numbers of four bits that share a scale
constexpr int64_t kGroupBytes = 4 * kPanel * 4 + kPanel * 2;  // those of a panel, and after them their scales as bf16

enum Format : int32_t { kFloat32 = 0, kBFloat16 = 1, kInt8 = 2, kInt4 = 3 };

// n columns (outputs), k rows (inputs). scales, offsets: of each column, where the format is int8. bias: or null.
struct Matrix {
  int64_t n, k;
  Format format;
  char* data;
  float* scales;
  int32_t* offsets;
  const float* bias;
};

inline int64_t bytes_per_unit_row() { return kPanel * 4; }
inline int per_unit(Format format) { return format == kFloat32 ? 1 : format == kBFloat16 ? 2 : 4; }
inline int64_t panels_of(int64_t n) { return (n + kPanel - 1) / kPanel; }
inline int64_t panel_bytes(int64_t k, Format format) {
  return format == kInt4 ? k / kNibbles * kGroupBytes : k / per_unit(format) * bytes_per_unit_row();
}
inline int64_t panel_bytes(const Matrix& w) { return panel_bytes(w.k, w.format); }

// A tile's number of rows is known when it is compiled: one case for each.
#define BEAMHOUSE_ROW_COUNTS(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)

// A tile: M rows by C vectors of columns, over `units` units. x: rows, `row_units` apart; weights: `stride` bytes from
// one unit to the next; ahead: what to fetch meanwhile, P cache lines a unit; out: rows of `out_row` sums, to which those
// of the tile are added where Add is set.
template <class Kind, int M, int C, int P, bool Add>
inline __attribute__((always_inline)) void tile(const uint32_t* x, int64_t row_units, const char* weights,
                                                int64_t stride, const char* ahead, int64_t units, void* out,
                                                int64_t out_row) {
  typename Kind::Sum sums[M][C];
  char* to = static_cast<char*>(out);
  for (int m = 0; m < M; m++)
    for (int c = 0; c < C; c++)
      sums[m][c] = typename Kind::Sum{};
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
inline void rows_by_vectors(const uint32_t* x, int64_t row_units, const char* weights, int64_t stride,
                            const char* ahead, int64_t units, void* out, int64_t out_row) {
  constexpr int C = columns_for(M, V);
  static_assert(V % C == 0);
  tile<Kind, M, C, P, Add>(x, row_units, weights, stride, ahead, units, out, out_row);
  for (int c = C; c < V; c += C)
    tile<Kind, M, C, 0, Add>(x, row_units, weights + c * kBytes, stride, ahead, units,
                             static_cast<char*>(out) + c * kBytes, out_row);
}

template <class Kind, int V, int P, bool Add>
inline void any_rows(int rows, const uint32_t* x, int64_t row_units, const char* weights, int64_t stride,
                     const char* ahead, int64_t units, void* out, int64_t out_row) {
#define BEAMHOUSE_ROWS(M)                                                                                  \
  case M:                                                                                                  \
    if constexpr (M <= kRows)                                                                              \
      rows_by_vectors<Kind, M, V, P, Add>(x, row_units, weights, stride, ahead, units, out, out_row); \
    break;
  switch (rows) { BEAMHOUSE_ROW_COUNTS(BEAMHOUSE_ROWS) }
#undef BEAMHOUSE_ROWS
}

// A tile of four-bit weights, of C vectors of columns from `first` on: each group is summed up as whole numbers, then weighed by its scale. x: bytes with a sign;
// sums: of each row and group, eight times the sum of its bytes, since the weights are stored eight too large.
template <int M, int C>
inline __attribute__((always_inline)) void nibble_tile(const uint32_t* x, int64_t row_units, const int32_t* sums,
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
        for (int line = 0; line < kPanel * 4; line += 64) __builtin_prefetch(weights + kAhead + pair * kPanel * 4 + line);
      for (int c = 0; c < C; c++) {
        const Words both = load_bits<Words>(weights + pair * kPanel * 4 + (first + c) * kBytes);
        const Words low = both & 0x0f0f0f0fu, high = (both >> 4) & 0x0f0f0f0fu;
        for (int m = 0; m < M; m++) {
          const uint32_t* from = x + m * row_units + group * 8 + pair * 2;
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

// What is multiplied: rows of k numbers in the kind's units; scales: of each row, where the numbers are bytes; sums: see
// `nibble_tile`.
struct Input {
  const uint32_t* units;
  int64_t row_units;
  const float* scales;
  const int32_t* sums;
};

// One panel of four-bit weights times some rows.
inline void nibble_panel(const Matrix& w, int64_t panel, const Input& x, int64_t row, int rows, float (*out)[kPanel]) {
  const int64_t groups = w.k / kNibbles;
  const char* weights = w.data + panel * panel_bytes(w);
  const uint32_t* from = x.units + row * x.row_units;
  const int32_t* sums = x.sums + row * groups;
#define BEAMHOUSE_ROWS(M)                                                                       \
  case M:                                                                                       \
    if constexpr (M <= kRows) {                                                                 \
      constexpr int C = columns_for(2 * M, kVectors);                                           \
      for (int c = 0; c < kVectors; c += C)                                                     \
        nibble_tile<M, C>(from, x.row_units, sums, weights, c, groups, &out[0][c * kLanes]);    \
    }                                                                                           \
    break;
  switch (rows) { BEAMHOUSE_ROW_COUNTS(BEAMHOUSE_ROWS) }
#undef BEAMHOUSE_ROWS
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

// One panel times some rows (at most kRows), as floats. pass, passes: which of how many groups of
// rows this is; each fetches its part of the next panel while it computes. Sums are begun anew every kStretch units, and
// their totals added up: a long sum of floats would lose more.
template <class Kind>
inline void panel_times(const Matrix& w, int64_t panel, const Input& x, int64_t row, int rows, int64_t pass,
                        int64_t passes, float (*out)[kPanel]) {
  const int64_t units = w.k / Kind::kPerUnit, bytes = panel_bytes(w), stride = bytes_per_unit_row();
  const char* weights = w.data + panel * bytes;
  const uint32_t* from = x.units + row * x.row_units;
  for (int64_t unit = 0; unit < units; unit += kStretch) {
    const int64_t count = std::min(kStretch, units - unit);
    const char *begin = weights + unit * stride, *next = begin + bytes;
    if (unit == 0) {
      if (passes == 1)
        any_rows<Kind, kVectors, 4, false>(rows, from, x.row_units, begin, stride, begin + kAhead, count, out, kPanel);
      else if (passes < 4)
        any_rows<Kind, kVectors, 2, false>(rows, from, x.row_units, begin, stride, next + pass % 2 * 128, count, out,
                                           kPanel);
      else
        any_rows<Kind, kVectors, 1, false>(rows, from, x.row_units, begin, stride, next + pass % 4 * 64, count, out,
                                           kPanel);
    } else {
      if (passes == 1)
        any_rows<Kind, kVectors, 4, true>(rows, from + unit, x.row_units, begin, stride, begin + kAhead, count, out,
                                          kPanel);
      else if (passes < 4)
        any_rows<Kind, kVectors, 2, true>(rows, from + unit, x.row_units, begin, stride, next + pass % 2 * 128, count,
                                          out, kPanel);
      else
        any_rows<Kind, kVectors, 1, true>(rows, from + unit, x.row_units, begin, stride, next + pass % 4 * 64, count,
                                          out, kPanel);
    }
  }
  const int64_t column = panel * kPanel;
  if (w.format == kInt8) scale_bytes(w, column, x.scales + row, rows, out);
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

// Rows of T to bytes without a sign, each by its own largest number. x: rows of k; to: rows of k bytes.
template <class T>
inline void to_bytes(const T* x, int64_t k, uint8_t* to, float* scale) {
  Floats most{}, poison{};  // poison: NaN where a number of the row is not finite, which must not go unseen
  for (int64_t i = 0; i < k; i += kLanes) {
    Floats value = load(x + i);
    Floats size = value < Floats{} ? -value : value;
    most = size > most ? size : most;
    poison = poison + value * 0.0f;
  }
  const float top = largest(most);
  const float up = top > 0 ? 127.0f / top : 0.0f;
  *scale = (top + sum(poison)) / 127.0f;
  const Floats magic = all(12582912.0f);
  for (int64_t i = 0; i < k; i += kLanes) {
    Ints whole = __builtin_convertvector((load(x + i) * up + magic) - magic, Ints) + 128;
    for (int lane = 0; lane < kLanes; lane++) to[i + lane] = uint8_t(whole[lane]);
  }
}

// Gives bytes their sign, and sums them up as `nibble_tile` asks.
inline void to_signed(uint8_t* bytes, int64_t k, int32_t* sums) {
  for (int64_t group = 0; group < k / kNibbles; group++) {
    int32_t total = 0;
    for (int64_t i = group * kNibbles; i < (group + 1) * kNibbles; i++) {
      bytes[i] ^= 0x80;
      total += int8_t(bytes[i]);
    }
    sums[group] = 8 * total;
  }
}

// Rooms for rows as bytes.
struct Workspace {
  std::vector<uint8_t> bytes;
  std::vector<float> scales;
  std::vector<int32_t> sums;

  void make_room(int64_t rows, int64_t widest) {
    bytes.resize(rows * widest);
    scales.resize(rows);
    sums.resize(rows * (widest / kNibbles + 1));
  }
};

// Rows of T as `multiply` reads them. Each thread makes its share of rows; all wait.

template <class T>
inline Input as_input(Team& team, int number, const Matrix& w, const T* x, int64_t num_rows, Workspace& space) {
  if (w.format < kInt8)
    return {reinterpret_cast<const uint32_t*>(x), w.k / KindOf<T>::Kind::kPerUnit, nullptr, nullptr};
  auto [begin, end] = team.share(number, num_rows);
  for (int64_t row = begin; row < end; row++) {
    uint8_t* bytes = space.bytes.data() + row * w.k;
    to_bytes(x + row * w.k, w.k, bytes, &space.scales[row]);
    if (w.format == kInt4) to_signed(bytes, w.k, space.sums.data() + row * (w.k / kNibbles));
  }
  team.barrier();
  return {reinterpret_cast<const uint32_t*>(space.bytes.data()), w.k / 4, space.scales.data(), space.sums.data()};
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

// Where row i of a plain matrix goes: columns [column, ...) of a packed one, with `gap` columns left between panels.
inline int64_t packed_column(int64_t i, int64_t column, int64_t gap) { return column + i + i / kPanel * gap; }

// Packs a plain (count, k) matrix into columns of a packed one.
template <class T>
inline void pack(const T* plain, int64_t count, int64_t column, int64_t gap, int64_t k, char* data) {
  constexpr int per = KindOf<T>::Kind::kPerUnit;
  const int64_t bytes = k / per * bytes_per_unit_row();
  for (int64_t i = 0; i < count; i++) {
    const int64_t at = packed_column(i, column, gap);
    T* panel = reinterpret_cast<T*>(data + at / kPanel * bytes);
    for (int64_t unit = 0; unit < k / per; unit++)
      std::memcpy(panel + (unit * kPanel + at % kPanel) * per, plain + i * k + unit * per, 4);
  }
}

// The same to int8, each column by its own largest number.
template <class T>
inline void pack_int8(const T* plain, int64_t count, int64_t column, int64_t gap, Matrix& w) {
  for (int64_t i = 0; i < count; i++) {
    const int64_t at = packed_column(i, column, gap);
    int8_t* panel = reinterpret_cast<int8_t*>(w.data + at / kPanel * panel_bytes(w));
    float top = 0;
    for (int64_t j = 0; j < w.k; j++) top = std::max(top, std::fabs(to_float(plain[i * w.k + j])));
    const float up = top > 0 ? 127.0f / top : 0.0f;
    int64_t total = 0;
    for (int64_t j = 0; j < w.k; j++) {
      const int8_t value = int8_t(std::lrintf(to_float(plain[i * w.k + j]) * up));
      panel[(j / 4 * kPanel + at % kPanel) * 4 + j % 4] = value;
      total += value;
    }
    w.scales[at] = top / 127.0f;
    w.offsets[at] = int32_t(128 * total);
  }
}

// The same to four bits: in each group of a column, the number of the largest size becomes -8.
template <class T>
inline void pack_int4(const T* plain, int64_t count, int64_t column, int64_t gap, Matrix& w) {
  for (int64_t i = 0; i < count; i++) {
    const int64_t at = packed_column(i, column, gap);
    for (int64_t group = 0; group < w.k / kNibbles; group++) {
      const T* from = plain + i * w.k + group * kNibbles;
      float top = 0;
      for (int64_t j = 0; j < kNibbles; j++)
        if (std::fabs(to_float(from[j])) > std::fabs(top)) top = to_float(from[j]);
      const bf16 scale = from_float<bf16>(top / -8);
      const float up = to_float(scale) != 0 ? 1 / to_float(scale) : 0.0f;
      char* to = w.data + at / kPanel * panel_bytes(w) + group * kGroupBytes;
      for (int64_t j = 0; j < kNibbles; j++) {
        const int value = std::clamp(int(std::lrintf(to_float(from[j]) * up)), -8, 7) + 8;
        // Of each eight numbers, the first four are the low halves of their bytes.
        char& byte = to[(j / 8 * kPanel + at % kPanel) * 4 + j % 4];
        byte = char(j % 8 < 4 ? (byte & 0xf0) | value : (byte & 0x0f) | value << 4);
      }
      std::memcpy(to + 4 * kPanel * 4 + at % kPanel * 2, &scale, 2);
    }
  }
}

}  // namespace beamhouse
