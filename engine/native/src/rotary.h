// Rotary position embedding (RoPE; Su et al., arXiv:2104.09864): positions as turns of pairs of numbers of a head,
// (head_dim,), of which the first `dim` are turned.
#pragma once

#include "vectors.h"

namespace beamhouse {

// Who is turned with whom: number d with number d + dim / 2; or each even one with the next, where products are rounded
// before they are added, or only their sum.
enum Pairing : int64_t { kHalves = 0, kNeighbours = 1, kNeighboursWhole = 2 };

// How one step turns the heads of some layers. cosines, sines: (any number, dim / 2), of which each token has the row
// that `rows` (num_tokens,) says; the first `dim` numbers of a head are turned.
struct Rotary {
  const float *cosines, *sines;
  const int32_t* rows;
  int64_t dim, pairing;
};

template <class T>
inline void rotate_halves(T* x, int64_t half, const float* cosines, const float* sines) {
  int64_t d = 0;
  for (; d + kLanes <= half; d += kLanes) {
    const Floats low = load(x + d), high = load(x + half + d), c = load(cosines + d), s = load(sines + d);
    store(x + d, rounded<T>(low * c) - rounded<T>(high * s));
    store(x + half + d, rounded<T>(high * c) + rounded<T>(low * s));
  }
  for (; d < half; d++) {
    const float low = to_float(x[d]), high = to_float(x[half + d]), c = cosines[d], s = sines[d];
    x[d] = from_float<T>(to_float(from_float<T>(low * c)) - to_float(from_float<T>(high * s)));
    x[half + d] = from_float<T>(to_float(from_float<T>(high * c)) + to_float(from_float<T>(low * s)));
  }
}

template <class T>
inline void rotate_neighbours(T* x, int64_t half, const float* cosines, const float* sines, bool is_whole) {
  const auto product = [is_whole](float a, float b) { return is_whole ? a * b : to_float(from_float<T>(a * b)); };
  for (int64_t d = 0; d < half; d++) {
    const float low = to_float(x[2 * d]), high = to_float(x[2 * d + 1]), c = cosines[d], s = sines[d];
    x[2 * d] = from_float<T>(product(low, c) - product(high, s));
    x[2 * d + 1] = from_float<T>(product(high, c) + product(low, s));
  }
}

// Turns one head of a token of the step.
template <class T>
inline void rotate(const Rotary& rotary, T* x, int64_t token) {
  const int64_t half = rotary.dim / 2, row = rotary.rows[token];
  const float *cosines = rotary.cosines + row * half, *sines = rotary.sines + row * half;
  if (rotary.pairing == kHalves)
    rotate_halves(x, half, cosines, sines);
  else
    rotate_neighbours(x, half, cosines, sines, rotary.pairing == kNeighboursWhole);
}

}  // namespace beamhouse
