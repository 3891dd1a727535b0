// The random numbers of torch's CPU generators: MT19937 (Matsumoto and Nishimura, "Mersenne Twister", 1998).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace beamhouse {

// The 32-bit Mersenne Twister of a torch generator, from the bytes of its state and back into them: there its 624 words
// stand in 64-bit places, and `left` counts the calls until it turns. That layout is torch's own affair: its length and
// a few draws are held against torch's when the kernels are loaded, and where they differ torch draws (`trial.py`).
class Twister {
 public:
  static constexpr int kSize = 624, kStateBytes = 24 + 8 * kSize;  // what it reads and writes of the state

  // Makes the state of a generator with this seed.
  static void seed(uint32_t seed, uint8_t (&state)[kStateBytes]) {
    const int32_t left = 1;
    std::memcpy(state + kLeft, &left, sizeof left);
    for (uint32_t i = 0; i < kSize; i++) {
      const uint64_t wide = seed;
      std::memcpy(state + kWords + 8 * i, &wide, sizeof wide);
      seed = 1812433253u * (seed ^ seed >> 30) + i + 1;
    }
  }

  explicit Twister(uint8_t* state) : state_(state) {
    int32_t left;
    std::memcpy(&left, state_ + kLeft, sizeof left);
    place_ = kSize + 1 - left;
    for (int i = 0; i < kSize; i++) std::memcpy(&words_[i], state_ + kWords + 8 * i, sizeof words_[i]);
  }
  Twister(const Twister&) = delete;

  ~Twister() {
    const int32_t left = kSize + 1 - place_;
    const uint64_t next = place_;
    std::memcpy(state_ + kLeft, &left, sizeof left);
    std::memcpy(state_ + kNext, &next, sizeof next);
    for (int i = 0; i < kSize; i++) {
      const uint64_t wide = words_[i];
      std::memcpy(state_ + kWords + 8 * i, &wide, sizeof wide);
    }
  }

  // The next `count` words as they stand in the state, see `tempered`; null: only goes past them.
  void take(uint32_t* out, int64_t count) {
    while (count > 0) {
      if (place_ == kSize) turn();
      const int64_t piece = std::min<int64_t>(count, kSize - place_);
      if (out) {
        std::memcpy(out, words_ + place_, piece * sizeof *out);
        out += piece;
      }
      place_ += int(piece);
      count -= piece;
    }
  }

  // A word as the generator gives it.
  static uint32_t tempered(uint32_t word) {
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c5680u;
    word ^= (word << 15) & 0xefc60000u;
    return word ^ (word >> 18);
  }

  // A double in [0, 1): the low 53 bits of two words, of which the first is the upper one.
  static double uniform(uint32_t upper, uint32_t lower) {
    const double high = tempered(upper) & 0x1fffffu;
    return (high * 4294967296.0 + tempered(lower)) * 0x1p-53;
  }

  // The upper word alone: a number not above the double, and less than 2^-21 below it.
  static float uniform_floor(uint32_t upper) { return float(int32_t(tempered(upper) & 0x1fffffu)) * 0x1p-21f; }

 private:
  static constexpr int kShift = 397, kLeft = 8, kNext = 16, kWords = 24;

  static uint32_t twisted(uint32_t word, uint32_t next) {
    const uint32_t mixed = (word & 0x80000000u) | (next & 0x7fffffffu);
    return (mixed >> 1) ^ (-(next & 1u) & 0x9908b0dfu);
  }

  void turn() {
    uint32_t* w = words_;
    const int split = kSize - kShift;
    for (int i = 0; i < split; i++) w[i] = w[i + kShift] ^ twisted(w[i], w[i + 1]);
    // Each word depends on one 227 places before it, further than a vector reaches.
#pragma GCC ivdep
    for (int i = split; i < kSize - 1; i++) w[i] = w[i - split] ^ twisted(w[i], w[i + 1]);
    w[kSize - 1] = w[kShift - 1] ^ twisted(w[kSize - 1], w[0]);
    place_ = 0;
  }

  uint8_t* state_;
  int place_;
  alignas(64) uint32_t words_[kSize];
};

}  // namespace beamhouse
