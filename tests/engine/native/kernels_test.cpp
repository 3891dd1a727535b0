// Every kernel beside its plain reference, over random sizes. One check by its name, or all:
//
//     kernels_test [CHECK]
//
// A program of its own, so that the sanitizers see nothing but the kernels (see sanitized.py).
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>

#include "../../../engine/native/src/attention.h"
#include "../../../engine/native/src/choices.h"
#include "../../../engine/native/src/packing.h"
#include "../../../engine/native/src/reference.h"
#include "../../../engine/native/src/sorting.h"

using namespace beamhouse;
using reference::Numbers;

namespace {

std::mt19937 dice(0);

int64_t between(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(dice); }

Numbers normal(int64_t count) {
  std::normal_distribution<double> distribution;
  Numbers numbers(count);
  for (double& one : numbers) one = distribution(dice);
  return numbers;
}

template <class T>
std::vector<T> as(const Numbers& numbers) {
  std::vector<T> out;
  for (double one : numbers) out.push_back(from_float<T>(float(one)));
  return out;
}

template <class T>
Numbers plain(const std::vector<T>& numbers) {
  Numbers out;
  for (T one : numbers) out.push_back(double(to_float(one)));
  return out;
}

void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

// Every number may be off by its own allowance, and by one rounding to T.
template <class T>
void expect_close(const Numbers& actual, const Numbers& expected, const std::function<double(size_t)>& allowed) {
  const double rounding = sizeof(T) == 2 ? 0x1p-8 : 0x1p-23;
  expect(actual.size() == expected.size(), "another number of numbers");
  for (size_t i = 0; i < actual.size(); i++)
    if (!(std::fabs(actual[i] - expected[i]) <= allowed(i) + rounding * std::fabs(expected[i])))
      throw std::runtime_error("number " + std::to_string(i) + " is " + std::to_string(actual[i]) + " instead of " +
                               std::to_string(expected[i]));
}

// --- The team ---

void check_rounds(Team& team) {
  constexpr int64_t kItems = 57;
  std::vector<int> taken(kItems), shared(kItems);
  std::vector<int64_t> sums(team.size);
  team.run([&](int number) {
    for (int round = 0; round < 40; round++) {
      for (auto [begin, end] = team.take(kItems, 3); begin < end; std::tie(begin, end) = team.take(kItems, 3))
        for (int64_t i = begin; i < end; i++) taken[i]++;
      team.barrier();
      // What others wrote before the barrier is seen after it.
      auto [begin, end] = team.share(number, kItems);
      for (int64_t i = begin; i < end; i++) shared[i] += taken[kItems - 1 - i];
      for (int one : taken) sums[number] += one;
      team.barrier();
    }
  });
  for (int64_t i = 0; i < kItems; i++) expect(taken[i] == 40 && shared[i] == 40 * 41 / 2, "an item was not taken once");
  for (int64_t sum : sums) expect(sum == kItems * 40 * 41 / 2, "a thread saw other numbers");
}

void check_failure(Team& team, int failing) {
  try {
    team.run([&](int number) {
      if (number == failing) throw std::runtime_error("thrown");
    });
  } catch (const std::runtime_error& error) {
    return expect(std::string(error.what()) == "thrown", "something else was thrown");
  }
  throw std::logic_error("what a job threw was lost");
}

void test_team() {
  for (int size = 1; size <= 4; size++) {
    Team team(size);
    for (int call = 0; call < 20; call++) check_rounds(team);
    for (int failing = 0; failing < size; failing++) check_failure(team, failing);
    check_rounds(team);
  }
}

// --- Products ---

// Rows of steps that a rounding cannot decide in two ways: none lies near the middle between two. Each row of `group`
// numbers has one of `most` steps, which no other exceeds.
Numbers in_steps(int64_t count, int64_t group, int most) {
  std::uniform_real_distribution<double> beside(-0.2, 0.2);
  Numbers numbers(count);
  for (double& one : numbers) one = double(between(1 - std::abs(most), std::abs(most) - 1)) + beside(dice);
  for (int64_t i = 0; i < count; i += group) {
    numbers[i + between(0, group - 1)] = most;
    const double step = std::ldexp(1.0, -int(between(1, 6)));  // exact in bfloat16, and so is the largest number
    for (int64_t j = i; j < i + group; j++) numbers[j] *= step;
  }
  return numbers;
}

struct Packed {
  std::vector<char> data;
  std::vector<float> scales, bias;
  std::vector<int32_t> offsets;
  Matrix matrix;

  template <class T>
  Packed(const std::vector<T>& w, const std::vector<float>& plain_bias, int64_t n, int64_t k, Format format) {
    const int64_t columns = panels_of(n) * kPanel;
    data.resize(panels_of(n) * panel_bytes(k, format));
    scales.resize(columns);
    offsets.resize(columns);
    bias = plain_bias;
    bias.resize(columns);
    matrix = {n, k, format, data.data(), scales.data(), offsets.data(), plain_bias.empty() ? nullptr : bias.data()};
    if (format == kInt8)
      pack_int8(w.data(), n, 0, 0, matrix);
    else if (format == kInt4)
      pack_int4(w.data(), n, 0, 0, matrix);
    else
      pack(w.data(), n, 0, 0, k, data.data());
  }
};

// x (rows, k) times a packed matrix, by the whole team.
template <class T>
std::vector<T> times(Team& team, const Packed& packed, const std::vector<T>& x, int64_t rows) {
  const Matrix& w = packed.matrix;
  std::vector<T> y(rows * w.n);
  Workspace space;
  space.make_room(rows, w.k);
  team.run([&](int number) {
    const Input input = as_input(team, number, w, x.data(), rows, space);
    multiply_any<T, 1>(team, w, input, rows, {0, panels_of(w.n), 1},
                       [&](int64_t panel, int64_t row, int count, auto* out) {
                         write_columns(out[0], count, panel * kPanel, 0, w.n, &y[row * w.n], w.n);
                       });
  });
  return y;
}

template <class T>
void check_product(Team& team, Format format) {
  const int64_t n = between(1, 200), k = 32 * between(1, 12), rows = between(1, 17);
  Numbers w_numbers = normal(n * k), x_numbers = normal(rows * k);
  if (format == kInt8) w_numbers = in_steps(n * k, k, 127);
  if (format == kInt4) w_numbers = in_steps(n * k, kNibbles, -8);
  if (format >= kInt8) x_numbers = in_steps(rows * k, k, 127);
  const auto w = as<T>(w_numbers), x = as<T>(x_numbers);
  const auto bias = as<float>(between(0, 1) ? normal(n) : Numbers());
  const Numbers actual = plain(times(team, Packed(w, bias, n, k, format), x, rows));
  Numbers weights = plain(w), inputs = plain(x);
  if (format == kInt8) weights = reference::in_127_steps(weights, n, k);
  if (format == kInt4) weights = reference::in_16_steps(weights);
  if (format >= kInt8) inputs = reference::in_127_steps(inputs, rows, k);
  const Numbers expected = reference::product(inputs, weights, plain(bias), rows, n, k);
  for (double& one : weights) one = std::fabs(one);
  for (double& one : inputs) one = std::fabs(one);
  const Numbers sizes = reference::product(inputs, weights, {}, rows, n, k);
  expect_close<T>(actual, expected, [&](size_t i) { return sizes[i] * 0x1p-20; });
}

void test_products() {
  for (int size = 1; size <= 3; size++) {
    Team team(size);
    for (int round = 0; round < 8; round++) {
      check_product<float>(team, kFloat32);
      check_product<bf16>(team, kBfloat16);
      for (Format format : {kInt8, kInt4}) {
        check_product<float>(team, format);
        check_product<bf16>(team, format);
      }
    }
  }
}

// --- What acts on rows ---

template <class T>
void check_norm(NormKind kind) {
  const int64_t size = 16 * between(1, 40);
  const auto x = as<T>(normal(size)), weight = as<T>(normal(size)), bias = as<T>(normal(size));
  const auto weights = as<float>(plain(weight)), biases = as<float>(plain(bias));
  const bool has_bias = kind == kLayerNorm && between(0, 1);
  std::vector<T> y(size);
  norm_piece({weights.data(), has_bias ? biases.data() : nullptr, size, 0, 1e-5f, kind}, 0, x.data(), y.data());
  const Numbers expected =
      reference::norm(plain(x), plain(weight), has_bias ? plain(bias) : Numbers(), 1e-5, kind == kLayerNorm);
  // kRms rounds once more on its way.
  expect_close<T>(plain(y), expected,
                  [&](size_t i) { return 1e-6 * 10 + (sizeof(T) == 2) * 0x1p-8 * std::fabs(expected[i]); });
}

void test_norms() {
  for (int round = 0; round < 30; round++)
    for (NormKind kind : {kRms, kRmsWhole, kLayerNorm}) {
      check_norm<float>(kind);
      check_norm<bf16>(kind);
    }
}

template <class T>
void check_rotary(Pairing pairing) {
  const int64_t half = between(1, 40), dim = 2 * half + between(0, 9);
  const Numbers angles = normal(half);
  std::vector<float> cosines, sines;
  for (double angle : angles) {
    cosines.push_back(float(std::cos(angle)));
    sines.push_back(float(std::sin(angle)));
  }
  auto x = as<T>(normal(dim));
  const Numbers expected = reference::turned(plain(x), angles, pairing);
  const int32_t row = 0;
  rotate(Rotary{cosines.data(), sines.data(), &row, 2 * half, pairing}, x.data(), 0);
  // Both products are rounded before they are added.
  expect_close<T>(plain(x), expected, [](size_t) { return sizeof(T) == 2 ? 4 * 0x1p-7 : 1e-6; });
}

void test_rotary() {
  for (int round = 0; round < 30; round++)
    for (Pairing pairing : {kHalves, kNeighbours, kNeighboursWhole}) {
      check_rotary<float>(pairing);
      check_rotary<bf16>(pairing);
    }
}

void test_activations() {
  for (Activation kind : {kSilu, kRelu, kGelu, kGeluTanh, kGeluNew, kReluSquared}) {
    float out[1][kPanel];
    Numbers expected;
    for (int c = 0; c < kPanel; c++) {
      out[0][c] = float(between(-9000, 9000)) / 1000;
      expected.push_back(reference::activated(double(out[0][c]), kind));
    }
    activate<float>(kind, out, 1);
    expect_close<float>(Numbers(out[0], out[0] + kPanel), expected, [](size_t) { return 2e-6; });
  }
}

// --- Attention ---

struct Sizes {
  int64_t kv_heads, sharing, dim, block, before, fed, window;
  double cap;
};

// One sequence, of which the last `fed` tokens are asked for, in blocks that lie in any order.
template <class T>
void check_attention(const Sizes& s) {
  const int64_t length = s.before + s.fed, heads = s.kv_heads * s.sharing, num_blocks = length / s.block + 3;
  const int64_t width = s.kv_heads * s.dim, numbers = num_blocks * s.block * width;
  const auto keys = as<T>(normal(length * width)), values = as<T>(normal(length * width));
  const auto queries = as<T>(normal(s.fed * heads * s.dim));
  std::vector<T> key_cache(numbers), value_cache(numbers), out(queries.size());
  std::vector<int32_t> table(num_blocks);
  std::iota(table.begin(), table.end(), 0);
  std::shuffle(table.begin(), table.end(), dice);
  const Store<T> store{key_cache.data(), value_cache.data(), s.block, s.kv_heads, s.dim};
  for (int64_t position = 0; position < length; position++)
    for (int64_t head = 0; head < s.kv_heads; head++) {
      const int64_t at = position * width + head * s.dim;
      store.write(table.data(), position, head, &keys[at], &values[at]);
    }
  const double scaling = 1 / std::sqrt(double(s.dim));
  const Attention<T> attention(store, {float(scaling), float(s.cap), s.window}, heads, table.data());
  const Feed feed{0, int32_t(s.fed), int32_t(s.before), 0};
  const auto scratch = std::make_unique<Scratch<T>>(s.dim);
  for (const Task& task : tasks_of(&feed, 1, heads, s.kv_heads))
    attention.attend(task, {queries.data(), heads * s.dim, s.dim}, out.data(), heads * s.dim, *scratch);
  for (int64_t token = 0; token < s.fed; token++)
    for (int64_t head = 0; head < heads; head++) {
      std::vector<T> seen_keys, seen_values;
      for (int64_t position = 0; position <= s.before + token; position++) {
        const int64_t at = position * width + head / s.sharing * s.dim;
        seen_keys.insert(seen_keys.end(), &keys[at], &keys[at] + s.dim);
        seen_values.insert(seen_values.end(), &values[at], &values[at] + s.dim);
      }
      const T* query = &queries[(token * heads + head) * s.dim];
      const T* actual = &out[(token * heads + head) * s.dim];
      const Numbers expected = reference::attention(plain(std::vector<T>(query, query + s.dim)), plain(seen_keys),
                                                    plain(seen_values), scaling, s.cap, s.window);
      // In bfloat16 the weights are rounded too; no value is larger than 6.
      expect_close<T>(plain(std::vector<T>(actual, actual + s.dim)), expected,
                      [](size_t) { return sizeof(T) == 2 ? 6 * 0x1p-8 : 6 * 0x1p-20; });
    }
}

void test_attention() {
  for (int round = 0; round < 12; round++) {
    const Sizes sizes{between(1, 3),
                      between(1, 9),
                      16 * between(1, 6),
                      16 * between(1, 2),
                      between(0, 150),
                      between(1, 20),
                      between(0, 1) * between(1, 90),
                      between(0, 2) ? 0.0 : 2.5};
    check_attention<float>(sizes);
    check_attention<bf16>(sizes);
  }
}

// --- Choices ---

std::vector<float> scores_of(int64_t size, double spread) {
  Numbers numbers = normal(size);
  for (double& one : numbers) one *= spread;
  return as<float>(numbers);
}

void test_races() {
  int num_certain = 0;
  for (uint32_t seed = 0; seed < 60; seed++) {
    uint8_t state[Twister::kStateBytes] = {};
    Twister::seed(seed, state);
    std::mt19937 words(seed);
    Twister twister(state);
    const auto race = std::make_unique<Race>();
    for (int draw = 0; draw < 3; draw++) {
      const auto scores = scores_of(between(1, 900), draw ? 3 : 0.1);
      const bool is_certain = race->run(twister, scores.data(), int64_t(scores.size()));
      const int64_t expected = reference::winner(scores, words);
      if (!is_certain) break;
      num_certain++;
      expect(race->winner() == expected, "another winner");
      uint32_t word;
      twister.take(&word, 1);
      expect(Twister::tempered(word) == words(), "another word");
    }
  }
  expect(num_certain > 170, "too many are in doubt");
}

void test_cuts() {
  int num_cut = 0;
  Cut cut;
  for (int round = 0; round < 100; round++) {
    auto scores = scores_of(between(1, 3000), 2);
    if (round % 2)
      for (float& one : scores) one = std::round(one * 8) / 8;  // many ties
    const auto before = scores;
    const int64_t k = between(1, 30), room = 2 * k + 64;
    std::vector<int64_t> places(room);
    const int64_t count = cut.keep_largest(scores.data(), int64_t(scores.size()), k, places.data(), room);
    if (count < 0) {
      expect(scores == before, "a row that was left alone is changed");
      continue;
    }
    num_cut++;
    places.resize(count);
    expect(places == reference::largest(before, k), "others are left");
    std::vector<float> expected(before.size(), kNothing);
    for (int64_t place : places) expected[place] = before[place];
    expect(scores == expected, "another row");
  }
  expect(num_cut > 30, "hardly a row is cut");
}

void test_sorting() {
  Sorting sorting;
  for (int round = 0; round < 100; round++) {
    auto scores = scores_of(between(1, 3000), 2);
    for (float& one : scores)
      if (round % 2) one = std::round(one * 8) / 8;
    if (round % 3 == 0) scores[between(0, int64_t(scores.size()) - 1)] = std::nanf("");
    if (round % 5 == 0) scores[between(0, int64_t(scores.size()) - 1)] = kNothing;
    for (float& one : scores) one += 0.0f;  // no -0, which stands before 0 here
    std::vector<float> values(scores.size());
    std::vector<int64_t> places(scores.size());
    sorting.sort(scores.data(), int64_t(scores.size()), values.data(), places.data());
    expect(places == reference::order(scores), "another order");
    for (size_t i = 0; i < places.size(); i++)
      expect(std::memcmp(&values[i], &scores[places[i]], 4) == 0 || std::isnan(values[i]), "another value");
  }
}

void test_swaps() {
  for (int round = 0; round < 100; round++) {
    const int64_t size = between(1, round % 2 ? 100 : kMostShuffled), count = between(1, std::min<int64_t>(size, 2000));
    std::vector<uint32_t> swaps(count);
    const auto seed = uint32_t(dice());
    find_swaps(seed, size, count, swaps.data());
    expect(swaps == reference::swaps(seed, size, count), "other swaps");
  }
}

const std::map<std::string, void (*)()> kChecks = {
    {"team", test_team},
    {"products", test_products},
    {"norms", test_norms},
    {"rotary", test_rotary},
    {"activations", test_activations},
    {"attention", test_attention},
    {"races", test_races},
    {"cuts", test_cuts},
    {"sorting", test_sorting},
    {"swaps", test_swaps},
};

}  // namespace

int main(int count, char** arguments) {
  int num_failed = 0;
  for (const auto& [name, check] : kChecks) {
    if (count > 1 && name != arguments[1]) continue;
    try {
      check();
    } catch (const std::exception& error) {
      std::printf("%s: %s\n", name.c_str(), error.what());
      num_failed++;
    }
  }
  return num_failed;
}
