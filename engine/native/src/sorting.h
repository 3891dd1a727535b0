// Whole rows, (size,) float32, in order: a radix sort from the least digit on (LSD), three passes of 11 bits. Floats
// become whole numbers of the same order first (M. Herf, "Radix tricks", 2001).
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace beamhouse {

class Sorting {
 public:
  // The scores in ascending order, NaN last, and where each stood, the first of them on ties. Either may be null.
  void sort(const float* scores, int64_t size, float* values, int64_t* places) {
    now_.resize(size);
    next_.resize(size);
    std::memset(starts_, 0, sizeof starts_);
    for (int64_t i = 0; i < size; i++) {
      now_[i] = uint64_t(key_of(scores[i])) << 32 | uint64_t(i);
      for (int pass = 0; pass < kPasses; pass++) starts_[pass][digit(now_[i], pass)]++;
    }
    for (int pass = 0; pass < kPasses; pass++) {
      uint32_t ahead = 0;
      for (uint32_t& start : starts_[pass]) {
        const uint32_t count = start;
        start = ahead;
        ahead += count;
      }
      for (uint64_t one : now_) next_[starts_[pass][digit(one, pass)]++] = one;
      now_.swap(next_);
    }
    for (int64_t i = 0; values && i < size; i++) values[i] = score_of(uint32_t(now_[i] >> 32));
    for (int64_t i = 0; places && i < size; i++) places[i] = int64_t(now_[i] & 0xffffffffu);
  }

 private:
  static constexpr int kPasses = 3, kBits = 11, kDigits = 1 << kBits;

  static int digit(uint64_t one, int pass) { return (one >> (32 + kBits * pass)) & (kDigits - 1); }

  // Bits in the order of the scores.
  static uint32_t key_of(float score) {
    uint32_t bits;
    std::memcpy(&bits, &score, sizeof bits);
    if (score != score) return 0xffffffffu;
    // Without a branch on the sign, which no processor could foresee.
    return bits ^ (-(bits >> 31) | 0x80000000u);
  }

  static float score_of(uint32_t key) {
    const uint32_t bits = key >> 31 ? key & 0x7fffffffu : ~key;
    float score;
    std::memcpy(&score, &bits, sizeof score);
    return score;
  }

  std::vector<uint64_t> now_, next_;
  uint32_t starts_[kPasses][kDigits];
};

}  // namespace beamhouse
