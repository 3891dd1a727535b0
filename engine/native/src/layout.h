// All that is written down a second time in Python (`mirrored.py`), in words that it can compare when it loads the
// library: sizes of structures, kind, width and offset of their fields, constants, and numbers of enumerations.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>

#include "choices.h"
#include "decoder.h"

namespace beamhouse {

// kind: of a field, as `kind_of` names it; '=' of a number, which stands in `at`.
struct Mirrored {
  const char* name;
  char kind;
  size_t width, at;
};

template <class T>
constexpr char kind_of() {
  return std::is_pointer_v<T> ? 'p' : std::is_floating_point_v<T> ? 'f' : std::is_class_v<T> ? 's' : 'i';
}

// clang-format off
#define FIELD(S, field) \
  Mirrored{#S "." #field, kind_of<decltype(S::field)>(), sizeof(decltype(S::field)), offsetof(S, field)}
#define SIZE(S) Mirrored{#S, '=', 0, sizeof(S)}
#define NUMBER(name) Mirrored{#name, '=', 0, size_t(name)}

constexpr Mirrored kMirrored[] = {
    SIZE(Matrix), FIELD(Matrix, n), FIELD(Matrix, k), FIELD(Matrix, format), FIELD(Matrix, data),
    FIELD(Matrix, scales), FIELD(Matrix, offsets), FIELD(Matrix, bias),
    SIZE(Norm), FIELD(Norm, weight), FIELD(Norm, bias), FIELD(Norm, size), FIELD(Norm, step), FIELD(Norm, eps),
    FIELD(Norm, kind),
    SIZE(Rotary), FIELD(Rotary, cosines), FIELD(Rotary, sines), FIELD(Rotary, rows), FIELD(Rotary, dim),
    FIELD(Rotary, pairing),
    SIZE(Layer), FIELD(Layer, qkv), FIELD(Layer, out), FIELD(Layer, up), FIELD(Layer, down),
    FIELD(Layer, before_attention), FIELD(Layer, query), FIELD(Layer, key), FIELD(Layer, after_attention),
    FIELD(Layer, before_mlp), FIELD(Layer, after_mlp), FIELD(Layer, rotary), FIELD(Layer, window),
    FIELD(Layer, scaling), FIELD(Layer, cap),
    SIZE(Shape), FIELD(Shape, hidden), FIELD(Shape, heads), FIELD(Shape, kv_heads), FIELD(Shape, head_dim),
    FIELD(Shape, head_step), FIELD(Shape, key_begin), FIELD(Shape, value_begin), FIELD(Shape, intermediate),
    FIELD(Shape, block), FIELD(Shape, residual), FIELD(Shape, activation), FIELD(Shape, is_gated),
    FIELD(Shape, embedding_scale), FIELD(Shape, query_scale), FIELD(Shape, branch_scale), FIELD(Shape, logit_scale),
    FIELD(Shape, logit_divisor), FIELD(Shape, logit_cap), FIELD(Shape, embedding), FIELD(Shape, positions),
    FIELD(Shape, norm), FIELD(Shape, head),
    SIZE(Cache), FIELD(Cache, keys), FIELD(Cache, values), FIELD(Cache, layer_bytes),
    SIZE(Feed), FIELD(Feed, start), FIELD(Feed, count), FIELD(Feed, before), FIELD(Feed, table),
    SIZE(Step), FIELD(Step, num_tokens), FIELD(Step, num_feeds), FIELD(Step, num_kept), FIELD(Step, num_layers),
    FIELD(Step, token_ids), FIELD(Step, positions), FIELD(Step, feeds), FIELD(Step, tables), FIELD(Step, kept),
    FIELD(Step, rotaries), FIELD(Step, query_scales), FIELD(Step, logits), FIELD(Step, hidden),
    NUMBER(kPanel), NUMBER(kNibbles), NUMBER(kKeys), NUMBER(kQueryRows), NUMBER(kMostShuffled),
    NUMBER(Format::kFloat32), NUMBER(Format::kBfloat16), NUMBER(Format::kInt8), NUMBER(Format::kInt4),
    NUMBER(NormKind::kRms), NUMBER(NormKind::kRmsWhole), NUMBER(NormKind::kLayerNorm),
    NUMBER(Activation::kSilu), NUMBER(Activation::kRelu), NUMBER(Activation::kGelu), NUMBER(Activation::kGeluTanh),
    NUMBER(Activation::kGeluNew), NUMBER(Activation::kReluSquared),
    NUMBER(Pairing::kHalves), NUMBER(Pairing::kNeighbours), NUMBER(Pairing::kNeighboursWhole),
    NUMBER(Residual::kInTurn), NUMBER(Residual::kBranchesFirst), NUMBER(Residual::kStreamFirst),
};

#undef FIELD
#undef SIZE
#undef NUMBER
// clang-format on

// One line for each: "name: number", or "name: kind and width at offset".
inline std::string layout() {
  std::string text;
  for (const Mirrored& one : kMirrored) {
    text += std::string(one.name) + ": ";
    if (one.kind != '=') text += one.kind + std::to_string(one.width) + " at ";
    text += std::to_string(one.at) + "\n";
  }
  return text;
}

}  // namespace beamhouse
