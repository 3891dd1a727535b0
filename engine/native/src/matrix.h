// Matrices as the products read them: in panels of 64 columns (the packed panels of GotoBLAS and BLIS).
//
// A matrix of n columns and k rows is cut into panels of 64 columns. A panel lies in one piece, unit after unit of four
// bytes: for each unit of k, the units of its 64 columns. Whoever multiplies thus reads memory straight ahead.
//
//   plain (n, k)  ->  panels (n / 64, k / numbers in a unit, 64, numbers in a unit)
//
// Panels of four-bit weights hold groups instead: (n / 64, k / 32, 4, 64, 4) bytes of two weights each, and behind each
// group its scales, (64,) bf16. That is Q4_0 of llama.cpp, interleaved by columns.
#pragma once

#include "vectors.h"

namespace beamhouse {

constexpr int kPanel = 64;                 // columns of a panel
constexpr int kVectors = kPanel / kLanes;  // vectors of a row of a panel

constexpr int64_t kNibbles = 32;                              // numbers of four bits that share a scale
constexpr int64_t kGroupBytes = 4 * kPanel * 4 + kPanel * 2;  // those of a panel, and after them their scales as bf16

enum Format : int32_t { kFloat32 = 0, kBfloat16 = 1, kInt8 = 2, kInt4 = 3 };

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
inline int per_unit(Format format) { return format == kFloat32 ? 1 : format == kBfloat16 ? 2 : 4; }
inline int64_t panels_of(int64_t n) { return (n + kPanel - 1) / kPanel; }
inline int64_t panel_bytes(int64_t k, Format format) {
  return format == kInt4 ? k / kNibbles * kGroupBytes : k / per_unit(format) * bytes_per_unit_row();
}
inline int64_t panel_bytes(const Matrix& w) { return panel_bytes(w.k, w.format); }

}  // namespace beamhouse
