// Rows as the products read them: in their own type, or rounded to bytes for weights of fewer bits.
#pragma once

#include <vector>

#include "matrix.h"
#include "team.h"

namespace beamhouse {

// What is multiplied: rows of k numbers in the kind's units; scales: of each row, where the numbers are bytes; sums:
// see `nibble_tile`.
struct Input {
  Units units;
  int64_t row_units;
  const float* scales;
  const int32_t* sums;
};

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
  if (w.format < kInt8) return {Units::of(x), w.k / KindOf<T>::Kind::kPerUnit, nullptr, nullptr};
  auto [begin, end] = team.share(number, num_rows);
  for (int64_t row = begin; row < end; row++) {
    uint8_t* bytes = space.bytes.data() + row * w.k;
    to_bytes(x + row * w.k, w.k, bytes, &space.scales[row]);
    if (w.format == kInt4) to_signed(bytes, w.k, space.sums.data() + row * (w.k / kNibbles));
  }
  team.barrier();
  return {Units::of(space.bytes.data()), w.k / 4, space.scales.data(), space.sums.data()};
}

}  // namespace beamhouse
