// Attention over the paged cache, read where it lies: softmax(scaling q k^T) v of each query, without ever making the
// matrix of weights.
//
// The block table is that of vLLM's PagedAttention (Kwon et al., arXiv:2309.06180), the softmax an online one (Milakov
// and Gimelshein, arXiv:1805.02867) over tiles of keys and values, as in FlashAttention (Dao et al., arXiv:2205.14135):
// a row carries its largest logit, the sum of its weights and the weighted sum of values, and scales the sums down
// where a larger logit comes.
//
// A block of the cache holds sub-blocks of 16 positions. For each layer and key head, a sub-block of keys lies
// transposed and one of values straight, both in units of four bytes, so that a dot product with 16 keys, and a
// weighted sum of 16 values, are tiles as those of a matrix. The queries that share a key head are rows of one tile.
//
//   keys    (num_blocks * block / 16, kv_heads, head_dim / n, 16, n)
//   values  (num_blocks * block / 16, kv_heads, 16 / n, head_dim, n)    n: numbers in a unit, 1 or 2
//
// Positions are visited 64 at a time, from multiples of 64 on. What one query gets thus never depends on how many
// others are fed with it.
#pragma once

#include <limits>

#include "attention_tiles.h"
#include "functions.h"

namespace beamhouse {

constexpr int kQueryRows = 56;  // most rows of one task

// The keys and values of one layer. block: positions of a cache block.
template <class T>
struct Store {
  T* keys;
  T* values;
  int64_t block, kv_heads, head_dim;

  int64_t sub_block_size() const { return kKeys * head_dim; }
  // Where the sub-block of a position begins, for a sequence with this table of blocks.
  int64_t at(const int32_t* table, int64_t position, int64_t head) const {
    const int64_t sub = table[position / block] * (block / kKeys) + position % block / kKeys;
    return (sub * kv_heads + head) * sub_block_size();
  }
  static constexpr int kPer = KindOf<T>::Kind::kPerUnit;
  static int64_t key_index(int64_t key, int64_t d) { return (d / kPer * kKeys + key) * kPer + d % kPer; }
  int64_t value_index(int64_t key, int64_t d) const { return (key / kPer * head_dim + d) * kPer + key % kPer; }

  // Stores one position. A value with something in it that is not finite would reach every sum over its sub-block,
  // those in which its weight is 0 too. So nothing of it is stored, and no number as its key: who sees the position
  // finds that in its logit, and nobody else does.
  void write(const int32_t* table, int64_t position, int64_t head, const T* key, const T* value) const {
    const int64_t begin = at(table, position, head), slot = position % kKeys;
    Floats nothing{};
    for (int64_t d = 0; d < head_dim; d += kLanes) nothing = nothing + load(value + d) * 0.0f;
    const bool is_finite = sum(nothing) == 0.0f;
    const T no_number = from_float<T>(std::numeric_limits<float>::quiet_NaN());
    for (int64_t d = 0; d < head_dim; d++) {
      keys[begin + key_index(slot, d)] = is_finite ? key[d] : no_number;
      values[begin + value_index(slot, d)] = is_finite ? value[d] : T(0);
    }
  }
};

// Tokens [start, start + count) of a step belong to one sequence, at positions `before`, before + 1, ...; its blocks
// are tables[table], tables[table + 1], ...
struct Feed {
  int32_t start, count, before, table;
};

// What a layer asks for. window: positions a query sees, itself included; 0: all. cap: of the logits; 0: none.
struct Reach {
  float scaling, cap;
  int64_t window;
};

// The queries of some tokens [first, first + count) of a feed, of the heads that share a key head.
struct Task {
  const Feed* feed;
  int32_t head, first, count;
};

inline std::vector<Task> tasks_of(const Feed* feeds, int64_t num_feeds, int64_t heads, int64_t kv_heads) {
  const int32_t most = std::max<int32_t>(1, int32_t(kQueryRows / (heads / kv_heads)));
  std::vector<Task> tasks;
  for (int64_t f = 0; f < num_feeds; f++)
    for (int32_t first = 0; first < feeds[f].count; first += most)
      for (int32_t head = 0; head < kv_heads; head++)
        tasks.push_back({&feeds[f], head, first, std::min(most, feeds[f].count - first)});
  return tasks;
}

// Queries of a step's tokens: `row` numbers from one token to the next, `head` from one head to the next.
template <class T>
struct Queries {
  const T* at;
  int64_t row, head;
};

// What one thread keeps of one task: queries and weighted sums of values (rows, head_dim), logits and weights of 64
// positions (rows, kGroup), and of each row the largest logit and the sum of weights so far.
template <class T>
struct Scratch {
  std::vector<T> queries;
  std::vector<float> sums;
  alignas(64) float logits[kQueryRows][kGroup];
  alignas(64) T weights[kQueryRows][kGroup];
  float most[kQueryRows], total[kQueryRows];

  explicit Scratch(int64_t head_dim) : queries(kQueryRows * head_dim), sums(kQueryRows * head_dim) {}
};

template <class T>
class Attention {
  using Kind = typename KindOf<T>::Kind;

 public:
  Attention(Store<T> store, Reach reach, int64_t heads, const int32_t* tables)
      : store_(store), reach_(reach), heads_(heads), tables_(tables) {}

  // out: (tokens, ...) rows, the heads side by side; out_row: numbers from one token to the next.
  void attend(const Task& task, const Queries<T>& queries, T* out, int64_t out_row, Scratch<T>& scratch) const {
    const int64_t dim = store_.head_dim, sharing = heads_ / store_.kv_heads, rows = task.count * sharing;
    const int64_t position = task.feed->before + task.first, last = position + task.count;
    for (int64_t row = 0; row < rows; row++) {
      const int64_t token = task.feed->start + task.first + row / sharing;
      std::memcpy(&scratch.queries[row * dim],
                  queries.at + token * queries.row + (task.head * sharing + row % sharing) * queries.head,
                  dim * sizeof(T));
      scratch.most[row] = -std::numeric_limits<float>::infinity();
      scratch.total[row] = 0;
    }
    std::fill(scratch.sums.begin(), scratch.sums.begin() + rows * dim, 0.0f);
    const int64_t seen = reach_.window ? std::max<int64_t>(0, position + 1 - reach_.window) : 0;
    for (int64_t group = seen / kGroup * kGroup; group < last; group += kGroup)
      visit(task, group, std::min<int64_t>(last, group + kGroup), rows, position, scratch);
    for (int64_t row = 0; row < rows; row++) {
      const int64_t token = task.feed->start + task.first + row / sharing;
      T* to = out + token * out_row + (task.head * sharing + row % sharing) * dim;
      const Floats share = all(1.0f / scratch.total[row]);
      for (int64_t d = 0; d < dim; d += kLanes) store(to + d, load(&scratch.sums[row * dim + d]) * share);
    }
  }

 private:
  // Adds the positions [group, end) to all rows.
  void visit(const Task& task, int64_t group, int64_t end, int64_t rows, int64_t position, Scratch<T>& scratch) const {
    const int32_t* table = tables_ + task.feed->table;
    const int64_t units = store_.head_dim / Kind::kPerUnit, sharing = rows / task.count;
    const char *keys[kSubBlocks], *values[kSubBlocks];
    int count = 0;
    for (int64_t sub = group; sub < end; sub += kKeys, count++) {
      const int64_t at = store_.at(table, sub, task.head);
      keys[count] = reinterpret_cast<const char*>(store_.keys + at);
      values[count] = reinterpret_cast<const char*>(store_.values + at);
    }
    for (int64_t row = 0; row < rows; row += kRows)
      with_rows(int(std::min<int64_t>(kRows, rows - row)), [&](auto m) {
        key_tiles<Kind, m.value, kSubBlocks>(Units::of(&scratch.queries[row * store_.head_dim]), units, keys, count,
                                             scratch.logits[row]);
      });
    for (int64_t row = 0; row < rows; row++) update_softmax(group, end, position + row / sharing, row, scratch);
    for (int64_t row = 0; row < rows; row += kRows)
      with_rows(int(std::min<int64_t>(kRows, rows - row)),
                [&](auto m) { add_values<m.value>(scratch, row, values, count); });
  }

  // One step of the online softmax: turns the logits of one row into weights, and scales what was summed up so far down
  // to the new largest logit.
  void update_softmax(int64_t group, int64_t end, int64_t position, int64_t row, Scratch<T>& scratch) const {
    float* logits = scratch.logits[row];
    const int64_t first = reach_.window ? position + 1 - reach_.window : 0;
    Floats most = all(scratch.most[row]);
    for (int64_t c = 0; c < kGroup; c += kLanes) {
      Floats value = load(logits + c) * reach_.scaling;
      if (reach_.cap != 0) value = hyperbolic_tangent(value / reach_.cap) * reach_.cap;
      if (group + c + kLanes > std::min(end, position + 1) || group + c < first)
        for (int lane = 0; lane < kLanes; lane++)
          if (group + c + lane > position || group + c + lane >= end || group + c + lane < first)
            value[lane] = -std::numeric_limits<float>::infinity();
      store(logits + c, value);
      most = value > most ? value : most;
    }
    const float top = largest(most), old = scratch.most[row];
    scratch.most[row] = top;
    if (top == -std::numeric_limits<float>::infinity()) {
      for (int64_t c = 0; c < kGroup; c++)
        if (std::isnan(logits[c])) scratch.total[row] = logits[c];
      std::memset(scratch.weights[row], 0, sizeof(scratch.weights[row]));
      return;
    }
    Floats total{};
    for (int64_t c = 0; c < kGroup; c += kLanes) {
      Floats weight = exponential(load(logits + c) - top);
      total = total + weight;
      store(&scratch.weights[row][c], weight);
    }
    const float kept = top == old ? 1.0f : std::exp(old - top);
    scratch.total[row] = scratch.total[row] * kept + sum(total);
    if (kept != 1.0f) {
      float* sums = &scratch.sums[row * store_.head_dim];
      for (int64_t d = 0; d < store_.head_dim; d += kLanes) store(sums + d, load(sums + d) * kept);
    }
  }

  template <int M>
  void add_values(Scratch<T>& scratch, int64_t row, const char* const* values, int count) const {
    const Units weights = Units::of(scratch.weights[row]);
    const int64_t dim = store_.head_dim;
    float* sums = &scratch.sums[row * dim];
    int64_t d = 0;
    for (; d + kPanel <= dim; d += kPanel) value_tiles<Kind, M, kVectors>(weights, values, count, dim, d, sums);
    for (; d + 2 * kKeys <= dim; d += 2 * kKeys)
      value_tiles<Kind, M, 2 * kKeys / kLanes>(weights, values, count, dim, d, sums);
    for (; d < dim; d += kKeys) value_tiles<Kind, M, kKeys / kLanes>(weights, values, count, dim, d, sums);
  }

  Store<T> store_;
  Reach reach_;
  int64_t heads_;
  const int32_t* tables_;
};

}  // namespace beamhouse
