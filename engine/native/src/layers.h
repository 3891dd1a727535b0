// What a decoder is made of, as data: its matrices, norms and numbers, and how they are put together.
#pragma once

#include "activations.h"
#include "norms.h"
#include "rotary.h"

namespace beamhouse {

// One layer. up: where the feed-forward part is gated, panels of the gate and of the other half take turns. A norm that
// is not there is of the kind kNoNorm. rotary: which of the step's, -1 where nothing is turned. window: positions a
// query sees, itself included; 0: all.
struct Layer {
  Matrix qkv, out, up, down;
  Norm before_attention, query, key, after_attention, before_mlp, after_mlp;
  int64_t rotary, window;
  float scaling, cap;
};

// How the two branches of a layer join the stream: each before the next begins; or both from the same stream, summed up
// by themselves first, or added to it one after the other.
enum Residual : int32_t { kInTurn = 0, kBranchesFirst = 1, kStreamFirst = 2 };

// The model around its layers. embedding: (vocabulary, hidden) plain; positions: (positions, hidden) plain, or null.
// head_step: numbers from one head to the next among what qkv gives, where the first key begins at key_begin and the
// first value at value_begin. What multiplies is 1, and a cap 0, where there is none.
struct Shape {
  int64_t hidden, heads, kv_heads, head_dim, head_step, key_begin, value_begin, intermediate, block;
  int32_t residual, activation, is_gated;
  float embedding_scale, query_scale, branch_scale, logit_scale, logit_divisor, logit_cap;
  const void *embedding, *positions;
  Norm norm;
  Matrix head;
};

}  // namespace beamhouse
