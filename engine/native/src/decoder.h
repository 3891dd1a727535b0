// A stack of decoder layers (Vaswani et al., arXiv:1706.03762, with the norms ahead of their branches), each described
// by its parts: which norms stand where, how positions come in, what the feed-forward part is, and how branches join
// the residual stream. All numbers are rounded where a model of torch operations rounds them.
#pragma once

#include <memory>

#include "attention.h"
#include "layers.h"

namespace beamhouse {

// Keys and values: of each layer, `layer_bytes` apart.
struct Cache {
  char *keys, *values;
  int64_t layer_bytes;
};

// What one step feeds. positions: those the model sees, (num_tokens,). kept: tokens whose logits are asked for; logits:
// (num_kept, vocabulary). hidden: for 0 ... num_layers a place for (num_tokens, hidden), or null; the last is normed.
// rotaries: one for each kind of layer. query_scales: what queries are multiplied by at each position, or null.
struct Step {
  int64_t num_tokens, num_feeds, num_kept, num_layers;
  const int32_t *token_ids, *positions;
  const Feed* feeds;
  const int32_t *tables, *kept;
  const Rotary* rotaries;
  const float* query_scales;
  float* logits;
  void** hidden;
};

template <class T>
class Decoder {
 public:
  Decoder(Shape shape, std::vector<Layer> layers) : shape_(shape), layers_(std::move(layers)) {}

  void forward(Team& team, const Cache& cache, const Step& step) {
    reserve(step);
    const std::vector<Task> tasks = tasks_of(step.feeds, step.num_feeds, shape_.heads, shape_.kv_heads);
    while (int(scratch_.size()) < team.size) scratch_.push_back(std::make_unique<Scratch<T>>(shape_.head_dim));
    team.run([&](int number) {
      embed(team, number, step);
      for (int64_t index = 0; index < step.num_layers; index++) run_layer(team, number, index, cache, step, tasks);
      finish(team, number, step);
    });
  }

  // The head's own product with hidden states (num_rows, hidden), which are normed already.
  void project(Team& team, const T* hidden, int64_t num_rows, float* logits) {
    space_.make_room(num_rows, shape_.hidden);
    team.run([&](int number) { write_logits(team, number, hidden, num_rows, logits, [](Floats x) { return x; }); });
  }

 private:
  void reserve(const Step& step) {
    const int64_t tokens = step.num_tokens, attended = shape_.heads * shape_.head_dim;
    x_.resize(tokens * shape_.hidden);
    normed_.resize(tokens * shape_.hidden);
    branch_.resize(tokens * shape_.hidden);
    qkv_.resize(tokens * qkv_width());
    attended_.resize(tokens * attended);
    inner_.resize(tokens * shape_.intermediate);
    space_.make_room(tokens, std::max({shape_.hidden, shape_.intermediate, attended}));
  }

  int64_t qkv_width() const { return (shape_.heads + 2 * shape_.kv_heads) * shape_.head_dim; }

  void embed(Team& team, int number, const Step& step) {
    const int64_t hidden = shape_.hidden;
    const T *embedding = static_cast<const T*>(shape_.embedding), *table = static_cast<const T*>(shape_.positions);
    auto [begin, end] = team.share(number, step.num_tokens);
    for (int64_t token = begin; token < end; token++) {
      const T* from = embedding + int64_t(step.token_ids[token]) * hidden;
      const T* position = table ? table + int64_t(step.positions[token]) * hidden : nullptr;
      T* to = &x_[token * hidden];
      for (int64_t i = 0; i < hidden; i += kLanes) {
        const Floats value = rounded<T>(load(from + i) * shape_.embedding_scale);
        store(to + i, position ? value + load(position + i) : value);
      }
    }
  }

  void run_layer(Team& team, int number, int64_t index, const Cache& cache, const Step& step,
                 const std::vector<Task>& tasks) {
    const Layer& layer = layers_[index];
    const int64_t tokens = step.num_tokens;
    const Store<T> store{reinterpret_cast<T*>(cache.keys + index * cache.layer_bytes),
                         reinterpret_cast<T*>(cache.values + index * cache.layer_bytes), shape_.block, shape_.kv_heads,
                         shape_.head_dim};
    keep_hidden(team, number, step, index);
    const T* input = normed(team, number, layer.before_attention, tokens);
    multiply_into(team, number, layer.qkv, input, tokens, qkv_.data());
    place(team, number, layer, step, store);
    team.barrier();
    attend(team, number, layer, step, store, tasks);
    const bool is_apart = shape_.residual == kBranchesFirst;
    if (is_apart)
      multiply_into(team, number, layer.out, attended_.data(), tokens, branch_.data());
    else
      add_branch(team, number, layer.out, attended_.data(), tokens, layer.after_attention);
    // Branches of one stream share a norm where the second has none of its own.
    if (shape_.residual == kInTurn || layer.before_mlp.kind) input = normed(team, number, layer.before_mlp, tokens);
    if (shape_.is_gated)
      feed_forward<2>(team, number, layer, input, tokens);
    else
      feed_forward<1>(team, number, layer, input, tokens);
    if (is_apart)
      join_branches(team, number, layer.down, tokens);
    else
      add_branch(team, number, layer.down, inner_.data(), tokens, layer.after_mlp);
  }

  void attend(Team& team, int number, const Layer& layer, const Step& step, const Store<T>& store,
              const std::vector<Task>& tasks) {
    const Attention<T> attention(store, {layer.scaling, layer.cap, layer.window}, shape_.heads, step.tables);
    const Queries<T> queries{qkv_.data(), qkv_width(), shape_.head_step};
    const int64_t width = shape_.heads * shape_.head_dim, count = int64_t(tasks.size());
    for (auto [begin, end] = team.take(count, 1); begin < end; std::tie(begin, end) = team.take(count, 1))
      attention.attend(tasks[begin], queries, attended_.data(), width, *scratch_[number]);
    team.barrier();
  }

  // What stands between the feed-forward part's two products goes to inner_; ends with a barrier. Width: 2 where a gate
  // has panels of its own, else 1.
  template <int Width>
  void feed_forward(Team& team, int number, const Layer& layer, const T* from, int64_t tokens) {
    const int64_t width = shape_.intermediate;
    const Input input = as_input(team, number, layer.up, from, tokens, space_);
    multiply_any<T, Width>(team, layer.up, input, tokens, {0, panels_of(width), Width},
                           [&](int64_t panel, int64_t row, int rows, auto* out) {
                             activate<T>(shape_.activation, out[0], rows);
                             if constexpr (Width == 2) gate<T>(out[0], out[1], rows);
                             write_columns(out[0], rows, panel / Width * kPanel, 0, width, &inner_[row * width], width);
                           });
    team.barrier();
  }

  // The products (tokens, w.n), rounded; ends with a barrier.
  void multiply_into(Team& team, int number, const Matrix& w, const T* from, int64_t tokens, T* to) {
    const Input input = as_input(team, number, w, from, tokens, space_);
    multiply_any<T, 1>(team, w, input, tokens, {0, panels_of(w.n), 1},
                       [&](int64_t panel, int64_t row, int rows, auto* out) {
                         write_columns(out[0], rows, panel * kPanel, 0, w.n, to + row * w.n, w.n);
                       });
    team.barrier();
  }

  // Changes the stream by what a product gives: x = add(place in the stream, product). Ends with a barrier.
  template <class Add>
  void change_stream(Team& team, int number, const Matrix& w, const T* from, int64_t tokens, const Add& add) {
    const Input input = as_input(team, number, w, from, tokens, space_);
    multiply_any<T, 1>(team, w, input, tokens, {0, panels_of(w.n), 1},
                       [&](int64_t panel, int64_t row, int rows, auto* out) {
                         const int count = int(std::min<int64_t>(kPanel, shape_.hidden - panel * kPanel));
                         for (int m = 0; m < rows; m++)
                           for (int c = 0; c < count; c += kLanes) {
                             const int64_t at = (row + m) * shape_.hidden + panel * kPanel + c;
                             store(&x_[at], add(at, rounded<T>(load(&out[0][m][c]))));
                           }
                       });
    team.barrier();
  }

  // Adds a product to the stream, through a norm where there is one; ends with a barrier.
  void add_branch(Team& team, int number, const Matrix& w, const T* from, int64_t tokens, const Norm& norm) {
    const float scale = shape_.branch_scale;
    if (!norm.kind)
      return change_stream(team, number, w, from, tokens,
                           [&](int64_t at, Floats product) { return load(&x_[at]) + rounded<T>(product * scale); });
    multiply_into(team, number, w, from, tokens, branch_.data());
    auto [begin, end] = team.share(number, tokens);
    for (int64_t token = begin; token < end; token++) {
      T *branch = &branch_[token * shape_.hidden], *x = &x_[token * shape_.hidden];
      norm_piece(norm, 0, branch, branch);
      for (int64_t i = 0; i < shape_.hidden; i += kLanes)
        store(x + i, load(x + i) + rounded<T>(load(branch + i) * scale));
    }
    team.barrier();
  }

  // Adds both branches, of which one is a product and the other has been put by, to the stream; ends with a barrier.
  void join_branches(Team& team, int number, const Matrix& w, int64_t tokens) {
    change_stream(team, number, w, inner_.data(), tokens,
                  [&](int64_t at, Floats product) { return rounded<T>(product + load(&branch_[at])) + load(&x_[at]); });
  }

  // Where what goes into a layer is asked for, keeps this thread's share of it. x_ must not change before a barrier.
  void keep_hidden(Team& team, int number, const Step& step, int64_t index) {
    if (!step.hidden || !step.hidden[index]) return;
    auto [begin, end] = team.share(number, step.num_tokens);
    const int64_t hidden = shape_.hidden;
    if (begin < end)
      std::memcpy(static_cast<T*>(step.hidden[index]) + begin * hidden, &x_[begin * hidden],
                  (end - begin) * hidden * sizeof(T));
  }

  // The stream behind a norm, or itself where there is none; ends with a barrier.
  const T* normed(Team& team, int number, const Norm& norm, int64_t tokens) {
    if (norm.kind) {
      auto [begin, end] = team.share(number, tokens);
      for (int64_t token = begin; token < end; token++)
        norm_piece(norm, 0, &x_[token * shape_.hidden], &normed_[token * shape_.hidden]);
    }
    team.barrier();
    return norm.kind ? normed_.data() : x_.data();
  }

  // Norms queries and keys, turns them to their positions, and puts keys and values into the cache.
  void place(Team& team, int number, const Layer& layer, const Step& step, const Store<T>& store) {
    auto [begin, end] = team.share(number, step.num_tokens);
    const Feed* feed = step.feeds;
    const Rotary* rotary = layer.rotary < 0 ? nullptr : step.rotaries + layer.rotary;
    for (int64_t token = begin; token < end; token++) {
      while (token >= feed->start + feed->count) feed++;
      T *queries = &qkv_[token * qkv_width()], *keys = queries + shape_.key_begin,
        *values = queries + shape_.value_begin;
      prepare(queries, shape_.heads, layer.query, rotary, token);
      prepare(keys, shape_.kv_heads, layer.key, rotary, token);
      if (shape_.query_scale != 1.0f) scale_queries(queries, shape_.query_scale);
      if (step.query_scales) scale_queries(queries, step.query_scales[step.positions[token]]);
      const int64_t number_in_feed = token - feed->start;
      for (int64_t head = 0; head < shape_.kv_heads; head++)
        store.write(step.tables + feed->table, feed->before + number_in_feed, head, keys + head * shape_.head_step,
                    values + head * shape_.head_step);
    }
  }

  void prepare(T* heads, int64_t count, const Norm& norm, const Rotary* rotary, int64_t token) const {
    if (norm.kind && norm.size != shape_.head_dim) norm_piece(norm, 0, heads, heads);
    for (int64_t head = 0; head < count; head++) {
      T* at = heads + head * shape_.head_step;
      if (norm.kind && norm.size == shape_.head_dim) norm_piece(norm, head, at, at);
      if (rotary) rotate(*rotary, at, token);
    }
  }

  void scale_queries(T* heads, float scale) const {
    for (int64_t head = 0; head < shape_.heads; head++)
      for (int64_t d = 0; d < shape_.head_dim; d += kLanes) {
        T* at = heads + head * shape_.head_step + d;
        store(at, load(at) * scale);
      }
  }

  // The last norm, and the logits of the kept tokens.
  void finish(Team& team, int number, const Step& step) {
    const int64_t hidden = shape_.hidden;
    void* all = step.hidden ? step.hidden[step.num_layers] : nullptr;
    if (all) {
      auto [begin, end] = team.share(number, step.num_tokens);
      for (int64_t token = begin; token < end; token++)
        norm_piece(shape_.norm, 0, &x_[token * hidden], static_cast<T*>(all) + token * hidden);
    }
    auto [begin, end] = team.share(number, step.num_kept);
    for (int64_t row = begin; row < end; row++)
      norm_piece(shape_.norm, 0, &x_[step.kept[row] * hidden], &normed_[row * hidden]);
    team.barrier();
    if (step.num_kept)
      write_logits(team, number, normed_.data(), step.num_kept, step.logits, [&](Floats x) { return last(x); });
  }

  // What a model does to its logits behind the head.
  Floats last(Floats x) const {
    if (shape_.logit_scale != 1.0f) x = rounded<T>(x * shape_.logit_scale);
    if (shape_.logit_divisor != 1.0f) x = rounded<T>(x / shape_.logit_divisor);
    if (shape_.logit_cap == 0.0f) return x;
    return rounded<T>(rounded<T>(hyperbolic_tangent(rounded<T>(x / shape_.logit_cap))) * shape_.logit_cap);
  }

  template <class Change>
  void write_logits(Team& team, int number, const T* from, int64_t num_rows, float* logits, const Change& change) {
    const Matrix& head = shape_.head;
    const Input input = as_input(team, number, head, from, num_rows, space_);
    multiply_any<T, 1>(team, head, input, num_rows, {0, panels_of(head.n), 1},
                       [&](int64_t panel, int64_t row, int rows, auto* out) {
                         for (int m = 0; m < rows; m++)
                           for (int c = 0; c < kPanel; c += kLanes)
                             store(&out[0][m][c], change(rounded<T>(load(&out[0][m][c]))));
                         write_columns(out[0], rows, panel * kPanel, 0, head.n, &logits[row * head.n], head.n);
                       });
  }

  Shape shape_;
  std::vector<Layer> layers_;
  std::vector<T> x_, normed_, branch_;  // (num_tokens, hidden) each; x_ is the stream
  std::vector<T> qkv_;                  // (num_tokens, qkv_width())
  std::vector<T> attended_;             // (num_tokens, heads * head_dim)
  std::vector<T> inner_;                // (num_tokens, intermediate)
  Workspace space_;
  std::vector<std::unique_ptr<Scratch<T>>> scratch_;
};

}  // namespace beamhouse
