// Functions of vectors of floats that models are made of, each within a few units in the last place.
//
// The polynomials are those of the Cephes library (S. Moshier).
#pragma once

#include "vectors.h"

namespace beamhouse {

// The first coefficient is that of the highest power.
template <size_t N>
inline Floats polynomial(const float (&coefficients)[N], Floats x) {
  Floats value = all(coefficients[0]);
  for (size_t i = 1; i < N; i++) value = value * x + coefficients[i];
  return value;
}

inline Floats magnitude(Floats x) { return (Floats)((Words)x & 0x7fffffffu); }
inline Floats with_sign_of(Floats x, Floats sign) { return (Floats)((Words)x | ((Words)sign & 0x80000000u)); }

inline Floats hyperbolic_tangent(Floats x) {
  constexpr float kNear[] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                             -3.33332819422e-1f};
  const Floats size = magnitude(x), square = x * x;
  const Floats near = polynomial(kNear, square) * square * x + x;
  const Floats far = 1.0f - 2.0f / (exponential(size + size) + 1.0f);
  return size < 0.625f ? near : with_sign_of(far, x);
}

inline Floats error_function(Floats x) {
  constexpr float kNear[] = {7.853861353153693e-5f,  -8.010193625184903e-4f, 5.188327685732524e-3f,
                             -2.685381193529856e-2f, 1.128358514861418e-1f,  -3.761262582423300e-1f,
                             1.128379165726710e+0f};
  constexpr float kMiddle[] = {2.326819970068386e-2f,  -1.387039388740657e-1f, 3.687424674597105e-1f,
                               -5.824733027278666e-1f, 6.210004621745983e-1f,  -4.944515323274145e-1f,
                               3.404879937665872e-1f,  -2.741127028184656e-1f, 5.638259427386472e-1f};
  constexpr float kFar[] = {-1.047766399936249e+1f, 1.297719955372516e+1f,  -7.495518717768503e+0f,
                            2.921019019210786e+0f,  -1.015265279202700e+0f, 4.218463358204948e-1f,
                            -2.820767439740514e-1f, 5.641895067754075e-1f};
  const Floats size = magnitude(x), square = x * x;
  const Floats near = polynomial(kNear, square) * x;
  const Floats inverse = 1.0f / size, inverse_square = inverse * inverse;
  const Floats part = size < 2.0f ? polynomial(kMiddle, inverse_square) : polynomial(kFar, inverse_square);
  const Floats far = 1.0f - exponential(-square) * inverse * part;
  return size < 1.0f ? near : with_sign_of(far, x);
}

}  // namespace beamhouse
