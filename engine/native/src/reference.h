// The same as the kernels in plain loops over doubles, for whoever reads them and for the tests: no vectors, no
// threads, no packing, nothing rounded but where it says so. Nothing here is compiled into the library.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "activations.h"
#include "norms.h"
#include "rotary.h"

namespace beamhouse::reference {

using Numbers = std::vector<double>;

// matmul.h: x (rows, k) times w (n, k), with a bias (n,) or none: (rows, n).
inline Numbers product(const Numbers& x, const Numbers& w, const Numbers& bias, int64_t rows, int64_t n, int64_t k) {
  Numbers y(size_t(rows * n));
  for (int64_t row = 0; row < rows; row++)
    for (int64_t column = 0; column < n; column++) {
      double sum = bias.empty() ? 0 : bias[column];
      for (int64_t i = 0; i < k; i++) sum += x[row * k + i] * w[column * k + i];
      y[row * n + column] = sum;
    }
  return y;
}

// inputs.h, packing.h: each row (rows, k) as 127 steps of its largest size (int8, absmax).
inline Numbers in_127_steps(const Numbers& x, int64_t rows, int64_t k) {
  Numbers y(x.size());
  for (int64_t row = 0; row < rows; row++) {
    double top = 0;
    for (int64_t i = 0; i < k; i++) top = std::max(top, std::fabs(x[row * k + i]));
    for (int64_t i = 0; i < k && top > 0; i++)
      y[row * k + i] = std::nearbyint(x[row * k + i] * (127 / top)) * (top / 127);
  }
  return y;
}

// packing.h: each 32 numbers of a row (rows, k) as -8 ... 7 steps, the largest size being -8 of them (Q4_0). The step
// is rounded to bfloat16.
inline Numbers in_16_steps(const Numbers& x) {
  Numbers y(x.size());
  for (size_t group = 0; group < x.size(); group += kNibbles) {
    double top = 0;
    for (size_t i = group; i < group + kNibbles; i++)
      if (std::fabs(x[i]) > std::fabs(top)) top = x[i];
    const double step = double(to_float(from_float<bf16>(float(top) / -8)));
    for (size_t i = group; i < group + kNibbles && step != 0; i++)
      y[i] = std::clamp(std::nearbyint(x[i] / step), -8.0, 7.0) * step;
  }
  return y;
}

// norms.h: x (size,) with a weight (size,), and a bias (size,) or none.
inline Numbers norm(const Numbers& x, const Numbers& weight, const Numbers& bias, double eps, bool is_layer_norm) {
  const double size = double(x.size());
  const double mean = is_layer_norm ? std::accumulate(x.begin(), x.end(), 0.0) / size : 0;
  double squares = 0;
  for (double one : x) squares += (one - mean) * (one - mean);
  Numbers y(x.size());
  for (size_t i = 0; i < x.size(); i++)
    y[i] = (x[i] - mean) / std::sqrt(squares / size + eps) * weight[i] + (bias.empty() ? 0 : bias[i]);
  return y;
}

// rotary.h: x (head_dim,), of which the first `dim` are turned by angles (dim / 2,).
inline Numbers turned(Numbers x, const Numbers& angles, Pairing pairing) {
  const size_t half = angles.size();
  for (size_t d = 0; d < half; d++) {
    double& low = x[pairing == kHalves ? d : 2 * d];
    double& high = x[pairing == kHalves ? d + half : 2 * d + 1];
    const double before = low;
    low = before * std::cos(angles[d]) - high * std::sin(angles[d]);
    high = high * std::cos(angles[d]) + before * std::sin(angles[d]);
  }
  return x;
}

// activations.h
inline double activated(double x, Activation activation) {
  switch (activation) {
    case kSilu: return x / (1 + std::exp(-x));
    case kRelu: return std::max(0.0, x);
    case kGelu: return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case kGeluTanh:
    case kGeluNew: return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case kReluSquared: return std::max(0.0, x) * std::max(0.0, x);
  }
  return x;
}

// attention.h: one query (head_dim,) at a position, over keys and values (position + 1, head_dim). window: positions it
// sees, itself included; 0: all. cap: of the logits; 0: none.
inline Numbers attention(const Numbers& query, const Numbers& keys, const Numbers& values, double scaling, double cap,
                         int64_t window) {
  const size_t dim = query.size(), count = keys.size() / dim;
  const size_t first = window && count > size_t(window) ? count - size_t(window) : 0;
  Numbers weights(count), y(dim);
  for (size_t key = first; key < count; key++) {
    for (size_t d = 0; d < dim; d++) weights[key] += query[d] * keys[key * dim + d];
    weights[key] *= scaling;
    if (cap != 0) weights[key] = std::tanh(weights[key] / cap) * cap;
  }
  const double most = *std::max_element(weights.begin() + int64_t(first), weights.end());
  double total = 0;
  for (size_t key = first; key < count; key++) total += weights[key] = std::exp(weights[key] - most);
  for (size_t key = first; key < count; key++)
    for (size_t d = 0; d < dim; d++) y[d] += weights[key] / total * values[key * dim + d];
  return y;
}

// choices.h: who wins the race of a row of scores, whose numbers come of two words each: the upper one first.
inline int64_t winner(const std::vector<float>& scores, std::mt19937& words) {
  const float most = *std::max_element(scores.begin(), scores.end());
  double best = -1;
  int64_t found = 0;
  for (size_t i = 0; i < scores.size(); i++) {
    const uint64_t upper = words(), lower = words();
    const double uniform = double((upper << 32 | lower) & ((uint64_t(1) << 53) - 1)) / double(uint64_t(1) << 53);
    const double ratio = std::exp(double(scores[i] - most)) / -std::log1p(-uniform);
    if (ratio > best) best = ratio, found = int64_t(i);
  }
  return found;
}

// choices.h: where the scores are that are not below the k-th largest.
inline std::vector<int64_t> largest(const std::vector<float>& scores, int64_t k) {
  std::vector<float> falling = scores;
  std::sort(falling.begin(), falling.end(), std::greater<float>());
  std::vector<int64_t> places;
  for (size_t i = 0; i < scores.size(); i++)
    if (scores[i] >= falling[size_t(k - 1)]) places.push_back(int64_t(i));
  return places;
}

// choices.h: the entries that the first steps of a shuffle of `size` entries swap their own with.
inline std::vector<uint32_t> swaps(uint32_t seed, int64_t size, int64_t count) {
  std::mt19937 words(seed);
  std::vector<uint32_t> found;
  for (int64_t i = 0; i < count; i++) found.push_back(uint32_t(i + int64_t(words()) % (size - i)));
  return found;
}

// sorting.h: the places of scores in ascending order, the first of them on ties, NaN last.
inline std::vector<int64_t> order(const std::vector<float>& scores) {
  std::vector<int64_t> places(scores.size());
  std::iota(places.begin(), places.end(), 0);
  const auto key = [&](int64_t place) {
    return std::isnan(scores[size_t(place)]) ? std::numeric_limits<float>::infinity() : scores[size_t(place)];
  };
  std::stable_sort(places.begin(), places.end(), [&](int64_t one, int64_t other) {
    const bool is_nan = std::isnan(scores[size_t(one)]), is_other = std::isnan(scores[size_t(other)]);
    return is_nan == is_other ? key(one) < key(other) : is_other;
  });
  return places;
}

}  // namespace beamhouse::reference
