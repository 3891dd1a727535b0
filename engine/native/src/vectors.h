// Vectors of floats as wide as the processor's registers, and what is computed with them.
//
// Written with the compiler's vector extensions, so that one source serves AVX-512, AVX2 and NEON; only the two dot
// products of short numbers name an instruction.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace beamhouse {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX2__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
constexpr int kLanes = kBytes / 4;

typedef float Floats __attribute__((vector_size(kBytes)));
typedef int32_t Ints __attribute__((vector_size(kBytes)));
typedef uint32_t Words __attribute__((vector_size(kBytes)));
typedef uint16_t Halves __attribute__((vector_size(kBytes / 2)));

using bf16 = uint16_t;

template <class V, class P>
inline V load_bits(const P* from) {
  V value;
  std::memcpy(&value, from, sizeof(V));
  return value;
}
template <class V, class P>
inline void store_bits(P* to, V value) {
  std::memcpy(to, &value, sizeof(V));
}

// Rows of numbers of any kind in units of four bytes, which may lie anywhere. They are copied out: a float or a bf16
// must not be read through a pointer to whole numbers (strict aliasing).
struct Units {
  const char* at;

  template <class Number>
  static Units of(const Number* numbers) {
    return {reinterpret_cast<const char*>(numbers)};
  }

  uint32_t operator[](int64_t unit) const { return load_bits<uint32_t>(at + 4 * unit); }
  Units operator+(int64_t units) const { return {at + 4 * units}; }
};

inline Floats all(float value) { return Floats{} + value; }
inline Ints all_ints(int32_t value) { return Ints{} + value; }

inline Floats load(const float* from) { return load_bits<Floats>(from); }
inline Floats load(const bf16* from) { return (Floats)(__builtin_convertvector(load_bits<Halves>(from), Words) << 16); }

// The nearest number of two bytes, ties to even; NaN stays NaN.
inline Words rounded_bits(Floats x) {
  Words bits = (Words)x;
  Words near = bits + 0x7fff + ((bits >> 16) & 1);
  return (x == x ? near : (Words)all_ints(0x7fc00000)) >> 16;
}

inline void store(float* to, Floats x) { store_bits(to, x); }
inline void store(bf16* to, Floats x) {
#if defined(__AVX512BF16__)
  store_bits(to, _mm512_cvtneps_pbh((__m512)x));
#else
  store_bits(to, __builtin_convertvector(rounded_bits(x), Halves));
#endif
}

// x as a tensor of T would hold it.
template <class T>
inline Floats rounded(Floats x);
template <>
inline Floats rounded<float>(Floats x) {
  return x;
}
template <>
inline Floats rounded<bf16>(Floats x) {
  bf16 bits[kLanes];
  store(bits, x);
  return load(bits);
}

inline float to_float(float x) { return x; }
inline float to_float(bf16 x) {
  uint32_t bits = uint32_t(x) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

template <class T>
inline T from_float(float x) {
  T out[kLanes];
  store(out, all(x));
  return out[0];
}

// The lanes are joined in pairs, then these, and so on: few steps that wait for one another.
inline float sum(Floats x) {
  float lanes[kLanes];
  store(lanes, x);
  for (int width = kLanes / 2; width; width /= 2)
    for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
  return lanes[0];
}
inline float largest(Floats x) {
  float lanes[kLanes];
  store(lanes, x);
  for (int width = kLanes / 2; width; width /= 2)
    for (int i = 0; i < width; i++) lanes[i] = lanes[i + width] > lanes[i] ? lanes[i + width] : lanes[i];
  return lanes[0];
}

// e^x (Cephes, `expf`), within 2 units in the last place; 0 below -87.3, the largest exponent above 88.3.
inline Floats exponential(Floats x) {
  const Floats high = all(88.3762626647949f), low = all(-87.3365447504f);
  Floats bounded = x > high ? high : x;
  bounded = bounded < low ? low : bounded;
  const Floats magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  Floats whole = (bounded * 1.44269504088896341f + magic) - magic;
  Floats rest = bounded - whole * 0.693359375f + whole * 2.12194440e-4f;
  Floats sum = all(1.9875691500e-4f);
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  Floats value = sum * rest * rest + rest + 1.0f;
  Ints exponent = (__builtin_convertvector(whole, Ints) + 127) << 23;
  return x < low ? Floats{} : value * (Floats)exponent;
}

// One step of a dot product, of units of four bytes: a float, two numbers of bf16, or four of int8. `weights` holds
// one unit for each column, `x` is the unit of one row.
struct F32 {
  using Number = float;
  using Sum = Floats;
  static constexpr int kPerUnit = 1;
  static inline Sum step(Sum sum, Words weights, uint32_t x) {
    float value;
    std::memcpy(&value, &x, 4);
    return sum + (Floats)weights * value;
  }
};

struct BF16 {
  using Number = bf16;
  using Sum = Floats;
  static constexpr int kPerUnit = 2;
  static inline Sum step(Sum sum, Words weights, uint32_t x) {
#if defined(__AVX512BF16__)
    return (Sum)_mm512_dpbf16_ps((__m512)sum, (__m512bh)weights, (__m512bh)_mm512_set1_epi32(x));
#else
    float low = to_float(bf16(x)), high = to_float(bf16(x >> 16));
    sum = sum + (Floats)(weights << 16) * low;
    return sum + (Floats)(weights & 0xffff0000u) * high;
#endif
  }
};

struct I8 {
  using Number = int8_t;
  using Sum = Ints;
  static constexpr int kPerUnit = 4;
  // x: four bytes without sign, weights: four with one.
  static inline Sum step(Sum sum, Words weights, uint32_t x) {
#if defined(__AVX512VNNI__)
    return (Sum)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(x), (__m512i)weights);
#else
    for (int byte = 0; byte < 4; byte++)
      sum = sum + ((Ints)(weights << (24 - 8 * byte)) >> 24) * int32_t((x >> (8 * byte)) & 0xff);
    return sum;
#endif
  }
};

// Four-bit weights, as bytes without a sign, times bytes with one.
struct I4 {
  static inline Ints step(Ints sum, Words weights, uint32_t x) {
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights, _mm512_set1_epi32(x));
#else
    for (int byte = 0; byte < 4; byte++)
      sum = sum + (Ints)((weights >> (8 * byte)) & 0xff) * (int32_t(x << (24 - 8 * byte)) >> 24);
    return sum;
#endif
  }
};

template <class T>
struct KindOf;
template <>
struct KindOf<float> {
  using Kind = F32;
};
template <>
struct KindOf<bf16> {
  using Kind = BF16;
};

}  // namespace beamhouse
