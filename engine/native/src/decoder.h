// A stack of decoder layers of the common kind: a norm by root mean square, rotary positions, keys shared by heads, and a
// gated feed-forward part. All numbers are rounded where a model of torch operations rounds them.
#pragma once

#include <memory>

#include "attention.h"

namespace beamhouse {

// One layer. Norms are (hidden,) floats, those of queries and keys (head_dim,) or null. gate_up: panels of the gate and of
// the other half take turns.
struct Layer {
  Matrix qkv, out, gate_up, down;
  const float *input_norm, *middle_norm, *query_norm, *key_norm;
  int64_t window;
};

// The model around its layers. embedding: (vocabulary, hidden) plain; cosines, sines: (positions, rotary_dim / 2).
struct Shape {
  int64_t hidden, heads, kv_heads, head_dim, rotary_dim, intermediate, block;
  float eps, scaling;
  const void* embedding;
  const float *cosines, *sines, *norm;
  Matrix head;
};

// Keys and values: of each layer, `layer_bytes` apart.
struct Cache {
  char *keys, *values;
  int64_t layer_bytes;
};

// What one step feeds. positions: those the model sees, (num_tokens,). kept: tokens whose logits are asked for; logits:
// (num_kept, vocabulary). hidden: for 0 ... num_layers a place for (num_tokens, hidden), or null; the last is normed.
struct Step {
  int64_t num_tokens, num_feeds, num_kept, num_layers;
  const int32_t *token_ids, *positions;
  const Feed* feeds;
  const int32_t *tables, *kept;
  float* logits;
  void** hidden;
};

template <class T>
class Decoder {
 public:
  Decoder(Shape shape, std::vector<Layer> layers) : shape_(shape), layers_(std::move(layers)) {}

  void forward(Team& team, const Cache& cache, const Step& step) {
    make_room(step);
    const std::vector<Task> tasks = tasks_of(step.feeds, step.num_feeds, shape_.heads, shape_.kv_heads);
    while (int(rooms_.size()) < team.size) rooms_.push_back(std::make_unique<Room<T>>(shape_.head_dim));
    team.run([&](int number) {
      embed(team, number, step);
      for (int64_t layer = 0; layer < step.num_layers; layer++) run_layer(team, number, layer, cache, step, tasks);
      finish(team, number, step);
    });
  }

  // Logits of hidden states (num_rows, hidden), which are normed already.
  void project(Team& team, const T* hidden, int64_t num_rows, float* logits) {
    space_.bytes.resize(num_rows * shape_.hidden);
    space_.scales.resize(num_rows);
    team.run([&](int number) { write_logits(team, number, hidden, num_rows, logits); });
  }

 private:
  void make_room(const Step& step) {
    const int64_t tokens = step.num_tokens, widest = std::max(shape_.hidden, shape_.intermediate);
    x_.resize(tokens * shape_.hidden);
    normed_.resize(tokens * shape_.hidden);
    qkv_.resize(tokens * qkv_width());
    attended_.resize(tokens * shape_.heads * shape_.head_dim);
    gated_.resize(tokens * shape_.intermediate);
    space_.bytes.resize(tokens * std::max(widest, shape_.heads * shape_.head_dim));
    space_.scales.resize(tokens);
  }

  int64_t qkv_width() const { return (shape_.heads + 2 * shape_.kv_heads) * shape_.head_dim; }

  void embed(Team& team, int number, const Step& step) {
    auto [begin, end] = team.share(number, step.num_tokens);
    for (int64_t token = begin; token < end; token++)
      std::memcpy(&x_[token * shape_.hidden],
                  static_cast<const T*>(shape_.embedding) + int64_t(step.token_ids[token]) * shape_.hidden,
                  shape_.hidden * sizeof(T));
  }

  void run_layer(Team& team, int number, int64_t index, const Cache& cache, const Step& step,
                 const std::vector<Task>& tasks) {
    const Layer& layer = layers_[index];
    const int64_t tokens = step.num_tokens;
    const Store<T> store{reinterpret_cast<T*>(cache.keys + index * cache.layer_bytes),
                         reinterpret_cast<T*>(cache.values + index * cache.layer_bytes), shape_.block, shape_.kv_heads,
                         shape_.head_dim};
    norm_rows(team, number, step, index, layer.input_norm);
    const Input normed = as_input(team, number, layer.qkv, normed_.data(), tokens, space_);
    multiply_any<T, 1>(team, layer.qkv, normed, tokens, {0, panels_of(layer.qkv.n), 1},
                       [&](int64_t panel, int64_t row, int rows, auto* out) {
                         write_columns(out[0], rows, panel * kPanel, 0, layer.qkv.n, &qkv_[row * layer.qkv.n],
                                       layer.qkv.n);
                       });
    team.barrier();
    place(team, number, layer, step, store);
    team.barrier();
    const Attention<T> attention(store, {shape_.scaling, 0, layer.window}, shape_.heads, step.tables);
    const int64_t width = shape_.heads * shape_.head_dim, num_tasks = int64_t(tasks.size());
    for (auto [begin, end] = team.take(num_tasks, 1); begin < end; std::tie(begin, end) = team.take(num_tasks, 1))
      attention.attend(tasks[begin], qkv_.data(), qkv_width(), attended_.data(), width, *rooms_[number]);
    team.barrier();
    add_product(team, number, layer.out, attended_.data(), tokens);
    norm_rows(team, number, step, -1, layer.middle_norm);
    const Input again = as_input(team, number, layer.gate_up, normed_.data(), tokens, space_);
    multiply_any<T, 2>(team, layer.gate_up, again, tokens, {0, panels_of(shape_.intermediate), 2},
                       [&](int64_t panel, int64_t row, int rows, auto* out) {
                         gate(out, rows);
                         write_columns(out[0], rows, panel / 2 * kPanel, 0, shape_.intermediate,
                                       &gated_[row * shape_.intermediate], shape_.intermediate);
                       });
    team.barrier();
    add_product(team, number, layer.down, gated_.data(), tokens);
  }

  // Adds a product to the stream of hidden states; ends with a barrier.
  void add_product(Team& team, int number, const Matrix& w, const T* from, int64_t tokens) {
    const Input input = as_input(team, number, w, from, tokens, space_);
    multiply_any<T, 1>(team, w, input, tokens, {0, panels_of(w.n), 1},
                       [&](int64_t panel, int64_t row, int rows, auto* out) {
                         add_columns(out[0], rows, row, panel * kPanel);
                       });
    team.barrier();
  }

  void add_columns(float (*out)[kPanel], int rows, int64_t row, int64_t column) {
    for (int m = 0; m < rows; m++) {
      T* to = &x_[(row + m) * shape_.hidden + column];
      const int64_t count = std::min<int64_t>(kPanel, shape_.hidden - column);
      int64_t c = 0;
      for (; c + kLanes <= count; c += kLanes) store(to + c, load(to + c) + rounded<T>(load(&out[m][c])));
      for (; c < count; c++) to[c] = from_float<T>(to_float(to[c]) + to_float(from_float<T>(out[m][c])));
    }
  }

  // silu(gate) * up, into the place of gate.
  static void gate(float (*out)[kRows][kPanel], int rows) {
    for (int m = 0; m < rows; m++)
      for (int c = 0; c < kPanel; c += kLanes) {
        const Floats gate = rounded<T>(load(&out[0][m][c])), up = rounded<T>(load(&out[1][m][c]));
        store(&out[0][m][c], rounded<T>(gate / (1.0f + exponential(-gate))) * up);
      }
  }

  void norm(const T* from, const float* weight, int64_t size, T* to) const {
    Floats squares{};
    for (int64_t i = 0; i < size; i += kLanes) {
      const Floats value = load(from + i);
      squares = squares + value * value;
    }
    const float factor = 1.0f / std::sqrt(sum(squares) / float(size) + shape_.eps);
    for (int64_t i = 0; i < size; i += kLanes) store(to + i, load(weight + i) * rounded<T>(load(from + i) * factor));
  }

  // Norms this thread's share of the tokens, keeping what goes into layer `index` where it is asked for; all wait.
  void norm_rows(Team& team, int number, const Step& step, int64_t index, const float* weight) {
    auto [begin, end] = team.share(number, step.num_tokens);
    const int64_t hidden = shape_.hidden;
    for (int64_t token = begin; token < end; token++) norm(&x_[token * hidden], weight, hidden, &normed_[token * hidden]);
    if (index >= 0 && step.hidden && step.hidden[index] && begin < end)
      std::memcpy(static_cast<T*>(step.hidden[index]) + begin * hidden, &x_[begin * hidden],
                  (end - begin) * hidden * sizeof(T));
    team.barrier();
  }

  // Turns queries and keys to their positions, and puts keys and values into the cache.
  void place(Team& team, int number, const Layer& layer, const Step& step, const Store<T>& store) {
    auto [begin, end] = team.share(number, step.num_tokens);
    const Feed* feed = step.feeds;
    const int64_t dim = shape_.head_dim;
    for (int64_t token = begin; token < end; token++) {
      while (token >= feed->start + feed->count) feed++;
      T* row = &qkv_[token * qkv_width()];
      for (int64_t head = 0; head < shape_.heads + shape_.kv_heads; head++) {
        const float* weight = head < shape_.heads ? layer.query_norm : layer.key_norm;
        if (weight) norm(row + head * dim, weight, dim, row + head * dim);
        rotate(row + head * dim, step.positions[token]);
      }
      const int64_t number_in_feed = token - feed->start;
      for (int64_t head = 0; head < shape_.kv_heads; head++)
        store.write(step.tables + feed->table, feed->before + number_in_feed, head,
                    row + (shape_.heads + head) * dim, row + (shape_.heads + shape_.kv_heads + head) * dim,
                    feed->count - number_in_feed - 1);
    }
  }

  void rotate(T* x, int64_t position) const {
    const int64_t half = shape_.rotary_dim / 2;
    const float *cosines = shape_.cosines + position * half, *sines = shape_.sines + position * half;
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

  // The last norm, and the logits of the kept tokens.
  void finish(Team& team, int number, const Step& step) {
    const int64_t hidden = shape_.hidden;
    void* all = step.hidden ? step.hidden[step.num_layers] : nullptr;
    if (all) {
      auto [begin, end] = team.share(number, step.num_tokens);
      for (int64_t token = begin; token < end; token++)
        norm(&x_[token * hidden], shape_.norm, hidden, static_cast<T*>(all) + token * hidden);
    }
    auto [begin, end] = team.share(number, step.num_kept);
    for (int64_t row = begin; row < end; row++)
      norm(&x_[step.kept[row] * hidden], shape_.norm, hidden, &normed_[row * hidden]);
    team.barrier();
    if (step.num_kept) write_logits(team, number, normed_.data(), step.num_kept, step.logits);
  }

  void write_logits(Team& team, int number, const T* from, int64_t num_rows, float* logits) {
    const Matrix& head = shape_.head;
    const Input input = as_input(team, number, head, from, num_rows, space_);
    multiply_any<T, 1>(team, head, input, num_rows, {0, panels_of(head.n), 1},
                       [&](int64_t panel, int64_t row, int rows, auto* out) {
                         for (int m = 0; m < rows; m++)
                           for (int c = 0; c < kPanel; c += kLanes)
                             store(&out[0][m][c], rounded<T>(load(&out[0][m][c])));
                         write_columns(out[0], rows, panel * kPanel, 0, head.n, &logits[row * head.n], head.n);
                       });
  }

  Shape shape_;
  std::vector<Layer> layers_;
  std::vector<T> x_, normed_, qkv_, attended_, gated_;
  Workspace space_;
  std::vector<std::unique_ptr<Room<T>>> rooms_;
};

}  // namespace beamhouse
