// What Python calls, as plain C: structures of numbers and pointers, no exceptions, nothing of torch.
#include <sys/mman.h>

#include "choices.h"
#include "decoder.h"
#include "sorting.h"

using namespace beamhouse;

namespace {

constexpr int64_t kHugePage = 2 << 20;

struct Stack {
  Format dtype;
  std::unique_ptr<Decoder<float>> floats;
  std::unique_ptr<Decoder<bf16>> halves;
};

template <class T>
void linear(Team& team, const Matrix& w, const T* x, int64_t rows, int64_t gap, int64_t begin, int64_t end, T* y) {
  Workspace space;
  space.make_room(rows, w.k);
  // With a gap, the columns asked for are every other panel, from that of `begin` on.
  const int64_t step = gap ? 2 : 1, first = begin / kPanel;
  const int64_t count = gap ? panels_of(end - begin) : panels_of(end) - first;
  team.run([&](int number) {
    const Input input = as_input(team, number, w, x, rows, space);
    multiply_any<T, 1>(team, w, input, rows, {first, count, step}, [&](int64_t panel, int64_t row, int n, auto* out) {
      const int64_t column = gap ? begin + (panel - first) / 2 * kPanel : panel * kPanel;
      write_columns(out[0], n, column, begin, end, y + row * (end - begin), end - begin);
    });
  });
}

template <class T>
void pack_rows(Matrix& w, const T* plain, int64_t count, int64_t column, int64_t gap) {
  if (w.format == kInt8)
    pack_int8(plain, count, column, gap, w);
  else if (w.format == kInt4)
    pack_int4(plain, count, column, gap, w);
  else
    pack(plain, count, column, gap, w.k, w.data);
}

// Calls job(state, item) for each of `total` items. The team is only waked where `num_scores`, of all items together,
// keep it for a millisecond or more: the call waits for all threads, and one may have lost its core to another process.
template <class State, class Job>
void for_each(Team& team, int64_t total, int64_t num_scores, const Job& job) {
  constexpr int64_t kMany = 2'000'000;
  if (num_scores < kMany) {
    State state;
    for (int64_t item = 0; item < total; item++) job(state, item);
    return;
  }
  team.run([&](int) {
    State state;
    for (auto next = team.take(total, 1); next.first < next.second; next = team.take(total, 1)) job(state, next.first);
  });
}

}  // namespace

extern "C" {

int64_t bh_vector_bytes() { return kBytes; }

// Zeroed memory in huge pages where the system grants them, or null.
void* bh_allocate(int64_t bytes) {
  void* at = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  char* begin = reinterpret_cast<char*>((reinterpret_cast<intptr_t>(at) + kHugePage - 1) & ~(kHugePage - 1));
  // Only the aligned part is kept, so that it can be given back by its address alone.
  if (begin != at) munmap(at, begin - static_cast<char*>(at));
  munmap(begin + bytes, kHugePage - (begin - static_cast<char*>(at)));
  madvise(begin, bytes, MADV_HUGEPAGE);
  return begin;
}

void bh_release(void* at, int64_t bytes) { munmap(at, bytes); }

void* bh_team(int64_t size) { return new Team(int(size)); }
void bh_team_free(void* team) { delete static_cast<Team*>(team); }

int64_t bh_packed_bytes(int64_t n, int64_t k, int32_t format) {
  return panels_of(n) * panel_bytes(k, Format(format));
}

// plain: (count, k) of `dtype`; see `pack` for where its rows go. Each thread packs some panels.
void bh_pack(void* team, Matrix* w, const void* plain, int32_t dtype, int64_t count, int64_t column, int64_t gap) {
  Team& threads = *static_cast<Team*>(team);
  threads.run([&](int number) {
    auto [first, last] = threads.share(number, panels_of(count));
    const int64_t begin = first * kPanel, rows = std::min(count, last * kPanel) - begin;
    if (dtype == kFloat32)
      pack_rows(*w, static_cast<const float*>(plain) + begin * w->k, rows, packed_column(begin, column, gap), gap);
    else
      pack_rows(*w, static_cast<const bf16*>(plain) + begin * w->k, rows, packed_column(begin, column, gap), gap);
  });
}

// y (rows, end - begin) = x (rows, k) times the columns [begin, end) of w.
void bh_linear(void* team, const Matrix* w, int32_t dtype, const void* x, int64_t rows, int64_t gap, int64_t begin,
               int64_t end, void* y) {
  if (dtype == kFloat32)
    linear(*static_cast<Team*>(team), *w, static_cast<const float*>(x), rows, gap, begin, end, static_cast<float*>(y));
  else
    linear(*static_cast<Team*>(team), *w, static_cast<const bf16*>(x), rows, gap, begin, end, static_cast<bf16*>(y));
}

// Copies cache blocks in all layers. pairs: (count, 2) source and target.
void bh_copy_blocks(const Cache* cache, int64_t num_layers, int64_t block_bytes, const int32_t* pairs, int64_t count) {
  for (int64_t layer = 0; layer < num_layers; layer++)
    for (int64_t i = 0; i < count; i++)
      for (char* store : {cache->keys, cache->values}) {
        char* base = store + layer * cache->layer_bytes;
        std::memcpy(base + pairs[2 * i + 1] * block_bytes, base + pairs[2 * i] * block_bytes, block_bytes);
      }
}

void* bh_stack(int32_t dtype, const Shape* shape, const Layer* layers, int64_t num_layers) {
  auto* stack = new Stack{Format(dtype), nullptr, nullptr};
  std::vector<Layer> all(layers, layers + num_layers);
  if (dtype == kFloat32)
    stack->floats = std::make_unique<Decoder<float>>(*shape, std::move(all));
  else
    stack->halves = std::make_unique<Decoder<bf16>>(*shape, std::move(all));
  return stack;
}
void bh_stack_free(void* stack) { delete static_cast<Stack*>(stack); }

void bh_forward(void* stack, void* team, const Cache* cache, const Step* step) {
  auto* s = static_cast<Stack*>(stack);
  if (s->floats)
    s->floats->forward(*static_cast<Team*>(team), *cache, *step);
  else
    s->halves->forward(*static_cast<Team*>(team), *cache, *step);
}

void bh_project(void* stack, void* team, const void* hidden, int64_t rows, float* logits) {
  auto* s = static_cast<Stack*>(stack);
  if (s->floats)
    s->floats->project(*static_cast<Team*>(team), static_cast<const float*>(hidden), rows, logits);
  else
    s->halves->project(*static_cast<Team*>(team), static_cast<const bf16*>(hidden), rows, logits);
}

// One draw from the softmax of each row that is not null, of `size` scores. The generator `states[i]` serves the rows
// up to `ends[i]`; for one that is null it only uses up its numbers. Returns 0 where any winner is in doubt.
int32_t bh_race(void* team, uint8_t* const* states, const int64_t* ends, int64_t num_states, const float* const* rows,
                int64_t size, int64_t* winners) {
  std::atomic<int32_t> is_certain{1};
  for_each<Race>(*static_cast<Team*>(team), num_states, ends[num_states - 1] * size, [&](Race& race, int64_t i) {
    Twister twister(states[i]);
    for (int64_t row = i ? ends[i - 1] : 0; row < ends[i]; row++) {
      if (!rows[row])
        twister.take(nullptr, 2 * size);
      else if (race.run(twister, rows[row], size))
        winners[row] = race.winner();
      else
        is_certain = 0;
    }
  });
  return is_certain;
}

// Cuts rows of `size` scores to their k[row] largest. places: (num_rows, room), of which counts[row] get filled; it is
// -1 for rows that were left as they are.
void bh_keep_largest(void* team, float* scores, int64_t num_rows, int64_t size, const int64_t* k, int64_t room,
                     int64_t* places, int64_t* counts) {
  for_each<Cut>(*static_cast<Team*>(team), num_rows, num_rows * size, [&](Cut& cut, int64_t row) {
    counts[row] = cut.keep_largest(scores + row * size, size, k[row], places + row * room, room);
  });
}

void bh_swaps(uint32_t seed, int64_t size, int64_t count, uint32_t* swaps) { find_swaps(seed, size, count, swaps); }

// Rows of `size` scores in order, see `Sorting`. values, places: (num_rows, size) or null.
void bh_sort(void* team, const float* scores, int64_t num_rows, int64_t size, float* values, int64_t* places) {
  for_each<Sorting>(*static_cast<Team*>(team), num_rows, num_rows * size, [&](Sorting& sorting, int64_t row) {
    const int64_t at = row * size;
    sorting.sort(scores + at, size, values ? values + at : nullptr, places ? places + at : nullptr);
  });
}

}  // extern "C"
