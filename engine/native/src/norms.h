// Norms of rows (size,): RMSNorm (Zhang and Sennrich, arXiv:1910.07467) and LayerNorm (Ba et al., arXiv:1607.06450).
#pragma once

#include "vectors.h"

namespace beamhouse {

// kRms rounds what it has normed before the weight comes to it; the others round once, at their end.
enum NormKind : int32_t { kNoNorm = 0, kRms = 1, kRmsWhole = 2, kLayerNorm = 3 };

// size: how many numbers are normed together, a multiple of 16. step: from the weights of one such piece to those of
// the next; 0 where all share them. bias: or null.
struct Norm {
  const float *weight, *bias;
  int64_t size, step;
  float eps;
  int32_t kind;
};

template <class T>
inline float root_of_squares(const T* from, int64_t size, float mean, float eps) {
  Floats squares{};
  for (int64_t i = 0; i < size; i += kLanes) {
    const Floats value = load(from + i) - mean;
    squares = squares + value * value;
  }
  return 1.0f / std::sqrt(sum(squares) / float(size) + eps);
}

// Norms the piece of this number. from and to may be one place.
template <class T>
inline void norm_piece(const Norm& norm, int64_t piece, const T* from, T* to) {
  const float* weight = norm.weight + piece * norm.step;
  if (norm.kind == kNoNorm) {
    if (to != from) std::memcpy(to, from, norm.size * sizeof(T));
    return;
  }
  if (norm.kind != kLayerNorm) {
    const float factor = root_of_squares(from, norm.size, 0.0f, norm.eps);
    for (int64_t i = 0; i < norm.size; i += kLanes) {
      const Floats value = load(from + i) * factor;
      store(to + i, load(weight + i) * (norm.kind == kRms ? rounded<T>(value) : value));
    }
    return;
  }
  Floats total{};
  for (int64_t i = 0; i < norm.size; i += kLanes) total = total + load(from + i);
  const float mean = sum(total) / float(norm.size), factor = root_of_squares(from, norm.size, mean, norm.eps);
  const float* bias = norm.bias ? norm.bias + piece * norm.step : nullptr;
  for (int64_t i = 0; i < norm.size; i += kLanes) {
    const Floats value = (load(from + i) - mean) * factor * load(weight + i);
    store(to + i, bias ? value + load(bias + i) : value);
  }
}

}  // namespace beamhouse
