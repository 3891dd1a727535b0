// What stands between the two products of a feed-forward part: an activation and, where it is gated (GLU; Shazeer,
// arXiv:2002.05202), the product with the other half. They work on the sums of a panel, (rows, 64), before these leave
// the cache.
#pragma once

#include "functions.h"
#include "matmul.h"

namespace beamhouse {

enum Activation : int32_t { kSilu = 0, kRelu = 1, kGelu = 2, kGeluTanh = 3, kGeluNew = 4, kReluSquared = 5 };

constexpr float kRootOfTwoByPi = 0.7978845608028654f;
constexpr float kRootOfHalf = 0.7071067811865476f;

inline Floats silu(Floats x) { return x / (1.0f + exponential(-x)); }
inline Floats relu(Floats x) { return x < 0.0f ? Floats{} : x; }
inline Floats gelu(Floats x) { return x * 0.5f * (1.0f + error_function(x * kRootOfHalf)); }
inline Floats gelu_tanh(Floats x) {
  return 0.5f * x * (1.0f + hyperbolic_tangent(kRootOfTwoByPi * (x + 0.044715f * (x * x * x))));
}
// The same in operations of their own, each of which rounds what it gives.
template <class T>
inline Floats gelu_new(Floats x) {
  const Floats cubic = rounded<T>(rounded<T>(x * x * x) * 0.044715f);
  const Floats inner = rounded<T>(rounded<T>(x + cubic) * kRootOfTwoByPi);
  return rounded<T>(x * 0.5f) * rounded<T>(rounded<T>(hyperbolic_tangent(inner)) + 1.0f);
}

template <class T, class Function>
inline void apply(float (*out)[kPanel], int rows, const Function& function) {
  for (int m = 0; m < rows; m++)
    for (int c = 0; c < kPanel; c += kLanes) store(&out[m][c], rounded<T>(function(rounded<T>(load(&out[m][c])))));
}

// Puts the rows of a panel through an activation.
template <class T>
inline void activate(int32_t activation, float (*out)[kPanel], int rows) {
  switch (Activation(activation)) {
    case kSilu: return apply<T>(out, rows, silu);
    case kRelu: return apply<T>(out, rows, relu);
    case kGelu: return apply<T>(out, rows, gelu);
    case kGeluTanh: return apply<T>(out, rows, gelu_tanh);
    case kGeluNew: return apply<T>(out, rows, gelu_new<T>);
    case kReluSquared: return apply<T>(out, rows, [](Floats x) { return relu(x) * relu(x); });
  }
}

// Multiplies the rows of a panel, activated already, by those of another.
template <class T>
inline void gate(float (*out)[kPanel], const float (*other)[kPanel], int rows) {
  for (int m = 0; m < rows; m++)
    for (int c = 0; c < kPanel; c += kLanes) store(&out[m][c], load(&out[m][c]) * rounded<T>(load(&other[m][c])));
}

}  // namespace beamhouse
