// What Python calls, as plain C: structures of numbers and pointers, nothing of torch.
//
// No exception leaves: what may throw returns 0 or, where something was thrown, 1, or a null pointer in the place of an
// object, and `bh_error` says what it was.
#include <sys/mman.h>

#include <cstdio>

#include "choices.h"
#include "decoder.h"
#include "layout.h"
#include "packing.h"
#include "sorting.h"

using namespace beamhouse;

namespace {

constexpr int64_t kHugePage = 2 << 20;

// A decoder over numbers of one of the two types.
struct AnyDecoder {
  std::unique_ptr<Decoder<float>> floats;
  std::unique_ptr<Decoder<bf16>> halves;
};

thread_local char last_error[256];

// Whether a function ran to its end.
template <class Function>
bool ran(const Function& function) noexcept {
  try {
    function();
    return true;
  } catch (const std::exception& error) {
    std::snprintf(last_error, sizeof last_error, "%s", error.what());
  } catch (...) {
    std::snprintf(last_error, sizeof last_error, "something that is no std::exception");
  }
  return false;
}

template <class Function>
int32_t guarded(const Function& function) noexcept {
  return ran(function) ? 0 : 1;
}

// What a function makes, or null where it throws.
template <class Function>
void* made(const Function& function) noexcept {
  void* object = nullptr;
  ran([&] { object = function(); });
  return object;
}

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

// What was thrown in this thread the last time that a function failed.
const char* bh_error() noexcept { return last_error; }

// See `layout.h`; null where there is no memory for it.
const char* bh_layout() noexcept {
  static std::string text;
  return ran([] { text = layout(); }) ? text.c_str() : nullptr;
}

// Zeroed memory from a multiple of 2 MiB on, or null. MADV_HUGEPAGE asks the system for pages of 2 MiB: a step reads
// all weights once, and with pages of 4 KiB it would miss the translation buffer (TLB) at each of them.
void* bh_allocate(int64_t bytes) noexcept {
  constexpr int kProtection = PROT_READ | PROT_WRITE, kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* at = mmap(nullptr, size_t(bytes + kHugePage), kProtection, kFlags, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  // Only the aligned part is kept, so that it can be given back by its address alone.
  const int64_t before = -reinterpret_cast<intptr_t>(at) & (kHugePage - 1);
  char* begin = static_cast<char*>(at) + before;
  if (before) munmap(at, size_t(before));
  munmap(begin + bytes, size_t(kHugePage - before));
  // Where it is refused, the pages are small and all works as before.
  madvise(begin, size_t(bytes), MADV_HUGEPAGE);
  return begin;
}

void bh_release(void* at, int64_t bytes) noexcept { munmap(at, size_t(bytes)); }

// A team lives as long as the process.
void* bh_team(int64_t size) noexcept {
  return made([&] { return std::make_unique<Team>(int(size)).release(); });
}

int64_t bh_packed_bytes(int64_t n, int64_t k, int32_t format) noexcept {
  return panels_of(n) * panel_bytes(k, Format(format));
}

// plain: (count, k) of `dtype`; see `pack` for where its rows go. Each thread packs some panels.
int32_t bh_pack(void* team, Matrix* w, const void* plain, int32_t dtype, int64_t count, int64_t column,
                int64_t gap) noexcept {
  Team& threads = *static_cast<Team*>(team);
  return guarded([&] {
    threads.run([&](int number) {
      auto [first, last] = threads.share(number, panels_of(count));
      const int64_t begin = first * kPanel, rows = std::min(count, last * kPanel) - begin;
      if (dtype == kFloat32)
        pack_rows(*w, static_cast<const float*>(plain) + begin * w->k, rows, packed_column(begin, column, gap), gap);
      else
        pack_rows(*w, static_cast<const bf16*>(plain) + begin * w->k, rows, packed_column(begin, column, gap), gap);
    });
  });
}

// y (rows, end - begin) = x (rows, k) times the columns [begin, end) of w.
int32_t bh_linear(void* team, const Matrix* w, int32_t dtype, const void* x, int64_t rows, int64_t gap, int64_t begin,
                  int64_t end, void* y) noexcept {
  Team& threads = *static_cast<Team*>(team);
  return guarded([&] {
    if (dtype == kFloat32)
      linear(threads, *w, static_cast<const float*>(x), rows, gap, begin, end, static_cast<float*>(y));
    else
      linear(threads, *w, static_cast<const bf16*>(x), rows, gap, begin, end, static_cast<bf16*>(y));
  });
}

// Copies cache blocks in all layers. pairs: (count, 2) source and target.
void bh_copy_blocks(const Cache* cache, int64_t num_layers, int64_t block_bytes, const int32_t* pairs,
                    int64_t count) noexcept {
  for (int64_t layer = 0; layer < num_layers; layer++)
    for (int64_t i = 0; i < count; i++)
      for (char* store : {cache->keys, cache->values}) {
        char* base = store + layer * cache->layer_bytes;
        std::memcpy(base + pairs[2 * i + 1] * block_bytes, base + pairs[2 * i] * block_bytes, size_t(block_bytes));
      }
}

void* bh_decoder(int32_t dtype, const Shape* shape, const Layer* layers, int64_t num_layers) noexcept {
  return made([&] {
    auto decoder = std::make_unique<AnyDecoder>();
    std::vector<Layer> all(layers, layers + num_layers);
    if (dtype == kFloat32)
      decoder->floats = std::make_unique<Decoder<float>>(*shape, std::move(all));
    else
      decoder->halves = std::make_unique<Decoder<bf16>>(*shape, std::move(all));
    return decoder.release();
  });
}
void bh_decoder_free(void* decoder) noexcept { delete static_cast<AnyDecoder*>(decoder); }

int32_t bh_forward(void* decoder, void* team, const Cache* cache, const Step* step) noexcept {
  const auto* whole = static_cast<AnyDecoder*>(decoder);
  return guarded([&] {
    if (whole->floats)
      whole->floats->forward(*static_cast<Team*>(team), *cache, *step);
    else
      whole->halves->forward(*static_cast<Team*>(team), *cache, *step);
  });
}

int32_t bh_project(void* decoder, void* team, const void* hidden, int64_t rows, float* logits) noexcept {
  const auto* whole = static_cast<AnyDecoder*>(decoder);
  return guarded([&] {
    if (whole->floats)
      whole->floats->project(*static_cast<Team*>(team), static_cast<const float*>(hidden), rows, logits);
    else
      whole->halves->project(*static_cast<Team*>(team), static_cast<const bf16*>(hidden), rows, logits);
  });
}

// One draw from the softmax of each row that is not null, of `size` scores. The generator `states[i]` serves the rows
// up to `ends[i]`; for one that is null it only uses up its numbers. is_certain: 0 where any winner is in doubt.
int32_t bh_race(void* team, uint8_t* const* states, const int64_t* ends, int64_t num_states, const float* const* rows,
                int64_t size, int64_t* winners, int32_t* is_certain) noexcept {
  std::atomic<bool> all_won{true};
  return guarded([&] {
    for_each<Race>(*static_cast<Team*>(team), num_states, ends[num_states - 1] * size, [&](Race& race, int64_t i) {
      Twister twister(states[i]);
      for (int64_t row = i ? ends[i - 1] : 0; row < ends[i]; row++) {
        if (!rows[row])
          twister.take(nullptr, 2 * size);
        else if (race.run(twister, rows[row], size))
          winners[row] = race.winner();
        else
          all_won = false;
      }
    });
    *is_certain = all_won;
  });
}

// Cuts rows of `size` scores to their k[row] largest. places: (num_rows, room), of which counts[row] get filled; it is
// -1 for rows that were left as they are.
int32_t bh_keep_largest(void* team, float* scores, int64_t num_rows, int64_t size, const int64_t* k, int64_t room,
                        int64_t* places, int64_t* counts) noexcept {
  return guarded([&] {
    for_each<Cut>(*static_cast<Team*>(team), num_rows, num_rows * size, [&](Cut& cut, int64_t row) {
      counts[row] = cut.keep_largest(scores + row * size, size, k[row], places + row * room, room);
    });
  });
}

void bh_swaps(uint32_t seed, int64_t size, int64_t count, uint32_t* swaps) noexcept {
  find_swaps(seed, size, count, swaps);
}

// Rows of `size` scores in order, see `Sorting`. values, places: (num_rows, size) or null.
int32_t bh_sort(void* team, const float* scores, int64_t num_rows, int64_t size, float* values,
                int64_t* places) noexcept {
  return guarded([&] {
    for_each<Sorting>(*static_cast<Team*>(team), num_rows, num_rows * size, [&](Sorting& sorting, int64_t row) {
      const int64_t at = row * size;
      sorting.sort(scores + at, size, values ? values + at : nullptr, places ? places + at : nullptr);
    });
  });
}

}  // extern "C"
