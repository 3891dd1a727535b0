// What choosing tokens does to whole rows of the vocabulary, (size,) float32 each: draws from their softmax by an
// exponential race, the cut to the k largest (top-k by maxima of blocks), and the swaps of a seeded shuffle.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "twister.h"
#include "vectors.h"

namespace beamhouse {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

inline bool any(Ints flags) {
  int32_t found = 0;
  for (int i = 0; i < kLanes; i++) found |= flags[i];
  return found != 0;
}

// The largest of `size` scores; NaN where one of them is.
inline float peak(const float* scores, int64_t size) {
  Floats most = all(kNothing);
  Ints bad{};
  const int64_t whole = size / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    const Floats x = load(scores + i);
    most = x > most ? x : most;
    bad |= x != x;
  }
  float found = largest(most);
  bool is_bad = any(bad);
  for (int64_t i = whole; i < size; i++) {
    found = std::max(found, scores[i]);
    is_bad |= scores[i] != scores[i];
  }
  return is_bad ? std::numeric_limits<float>::quiet_NaN() : found;
}

// A draw from the softmax of scores as torch.multinomial makes it, an exponential race (Efraimidis and Spirakis, 2006;
// with scores for weights, the Gumbel-max trick): the largest p / q wins, q = -log(1 - u) of uniform doubles u. All p
// share the factor that makes them sum up to one, so e^(score - most) runs in their place. Since q is never less than
// u, only those are looked at closely whose bound e^(score - most) / u reaches the best so far.
class Race {
 public:
  // False where the winner is in doubt: in torch's hands rounding might let another one win, or the row is no
  // distribution. Uses up two words for each score.
  bool run(Twister& twister, const float* scores, int64_t size) {
    most_ = peak(scores, size);
    if (!std::isfinite(most_)) return false;
    first_ = second_ = 0;
    for (int64_t begin = 0; begin < size; begin += kBlock) {
      const int64_t count = std::min(kBlock, size - begin);
      const float* block = scores + begin;
      if (count < kBlock) {
        std::fill_n(padded_, kBlock, kNothing);
        std::copy_n(block, count, padded_);
        block = padded_;
      }
      const bool lives = has_any(block);
      twister.take(lives ? words_ : nullptr, 2 * count);
      if (lives && reaches_any(block) && !look(block, begin)) return false;
    }
    return second_ < first_ * (1 - kDoubt);
  }

  int64_t winner() const { return winner_; }

 private:
  static constexpr int64_t kBlock = 256;
  static constexpr double kDoubt = 1e-5;      // well above what rounding does to p / q, a few units in 1e-7
  static constexpr float kSlack = 1 + 1e-4f;  // lets all through that could cause doubt
  static constexpr float kLeast = -87;        // below it next to nothing is left: it cannot win against the best score

  bool has_any(const float* block) const {
    Ints lives{};
    for (int i = 0; i < kBlock; i += kLanes) lives |= load(block + i) - most_ > all(kLeast);
    return any(lives);
  }

  bool reaches_any(const float* block) {
    for (int i = 0; i < kBlock; i++) floors_[i] = Twister::uniform_floor(words_[2 * i]);
    Ints reach{};
    const Floats best = all(float(first_));
    for (int i = 0; i < kBlock; i += kLanes) {
      const Floats power = exponential(load(block + i) - most_) * kSlack;
      store(powers_ + i, power);
      reach |= power > best * load(floors_ + i);
    }
    return any(reach);
  }

  bool look(const float* block, int64_t begin) {
    for (int i = 0; i < kBlock; i++) {
      if (!(powers_[i] > float(first_) * floors_[i])) continue;
      const double uniform = Twister::uniform(words_[2 * i], words_[2 * i + 1]);
      if (uniform == 0) return false;
      const float exponential = float(-std::log1p(-uniform));
      const double ratio = std::exp(double(block[i] - most_)) / double(exponential);
      if (ratio > first_) {
        second_ = first_;
        first_ = ratio;
        winner_ = begin + i;
      } else {
        second_ = std::max(second_, ratio);
      }
    }
    return true;
  }

  float most_;
  double first_, second_;
  int64_t winner_ = 0;
  alignas(64) uint32_t words_[2 * kBlock];
  alignas(64) float floors_[kBlock], powers_[kBlock], padded_[kBlock];
};

// The entry that each of the first `count` steps of a seeded shuffle of `size` entries swaps its own with: step i takes
// the next word modulo what is left (Fisher and Yates, from the front), see Shuffle in Python. size: at most
// kMostShuffled, so that a quotient of doubles is exact.
constexpr int64_t kMostShuffled = 1 << 20;
inline void find_swaps(uint32_t seed, int64_t size, int64_t count, uint32_t* swaps) {
  uint8_t state[Twister::kStateBytes];
  Twister::seed(seed, state);
  Twister(state).take(swaps, count);
  for (int64_t i = 0; i < count; i++) {
    const uint32_t word = Twister::tempered(swaps[i]);
    const double left = double(size - i);
    swaps[i] = uint32_t(i) + uint32_t(word - std::floor(word / left) * left);
  }
}

// Gives -inf to all scores of a row below the k-th largest. `places`, of `room`, become those of the others, ascending.
// Returns their number, or -1, the row as it was, where they do not fit or the row is not one for this: it holds NaN,
// nothing but -inf, or too few numbers for its k.
//
// No score below the k-th largest peak of all chunks can be the k-th.
class Cut {
 public:
  int64_t keep_largest(float* scores, int64_t size, int64_t k, int64_t* places, int64_t room) {
    peaks_.clear();
    for (int64_t begin = 0; begin < size; begin += kChunk)
      peaks_.push_back(peak(scores + begin, std::min(kChunk, size - begin)));
    if (k > int64_t(peaks_.size())) return -1;
    for (float one : peaks_)
      if (one != one) return -1;
    ranked_ = peaks_;
    find(scores, size, std::max(kth(k), std::numeric_limits<float>::lowest()));
    if (found_.empty()) return -1;
    ranked_.clear();
    for (int64_t at : found_) ranked_.push_back(scores[at]);
    const float limit = k <= int64_t(found_.size()) ? kth(k) : kNothing;
    int64_t count = 0;
    for (int64_t at : found_) {
      if (scores[at] < limit) continue;
      if (count == room) return -1;
      places[count++] = at;
    }
    ranked_.clear();
    for (int64_t i = 0; i < count; i++) ranked_.push_back(scores[places[i]]);
    std::fill_n(scores, size, kNothing);
    for (int64_t i = 0; i < count; i++) scores[places[i]] = ranked_[i];
    return count;
  }

 private:
  static constexpr int64_t kChunk = 128;

  float kth(int64_t k) {
    std::nth_element(ranked_.begin(), ranked_.begin() + (k - 1), ranked_.end(), std::greater<float>());
    return ranked_[k - 1];
  }

  // The places of all scores from `floor` on, in the chunks whose peak reaches it.
  void find(const float* scores, int64_t size, float floor) {
    found_.clear();
    for (size_t chunk = 0; chunk < peaks_.size(); chunk++) {
      if (peaks_[chunk] < floor) continue;
      const int64_t end = std::min<int64_t>((chunk + 1) * kChunk, size);
      for (int64_t at = chunk * kChunk; at < end; at++)
        if (scores[at] >= floor) found_.push_back(at);
    }
  }

  std::vector<float> peaks_, ranked_;
  std::vector<int64_t> found_;
};

}  // namespace beamhouse
