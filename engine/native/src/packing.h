// Brings plain weights into the panels of `matrix.h`, in their own type or rounded to fewer bits.
#pragma once

#include <algorithm>
#include <cmath>

#include "matrix.h"

namespace beamhouse {

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
