// Positions as turns of pairs of numbers.
#pragma once

#include "vectors.h"

namespace beamhouse {

// cosines, sines: (positions, dim / 2); the first `dim` numbers of a head are turned, none where cosines is null. Number d
// is paired with number d + dim / 2, or, where is_paired, each even one with the next, in floats until the end.
struct Rotary {
  const float *cosines, *sines;
  int64_t dim, is_paired;
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
inline void rotate_pairs(T* x, int64_t half, const float* cosines, const float* sines) {
  for (int64_t d = 0; d < half; d++) {
    const float low = to_float(x[2 * d]), high = to_float(x[2 * d + 1]);
    x[2 * d] = from_float<T>(low * cosines[d] - high * sines[d]);
    x[2 * d + 1] = from_float<T>(high * cosines[d] + low * sines[d]);
  }
}

// Turns one head to its position.
template <class T>
inline void rotate(const Rotary& rotary, T* x, int64_t position) {
  if (!rotary.cosines) return;
  const int64_t half = rotary.dim / 2;
  const float *cosines = rotary.cosines + position * half, *sines = rotary.sines + position * half;
  if (rotary.is_paired)
    rotate_pairs(x, half, cosines, sines);
  else
    rotate_halves(x, half, cosines, sines);
}

}  // namespace beamhouse
