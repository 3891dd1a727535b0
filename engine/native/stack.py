"""A whole decoder in the kernels: its weights packed, its layers run in one call a step."""

import ctypes
import weakref
from array import array
from collections.abc import Sequence as Seq
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from engine.batch import Feed
from engine.cache import BlockCache, BlockCopy
from engine.native.architecture import OtherArchitecture, angles, recognize
from engine.native.library import FORMATS, CacheStruct, Kernels, LayerStruct, Memory, ShapeStruct, StepStruct
from engine.native.linear import PackedLinear, weight_of
from engine.native.matrices import PANEL, PackedMatrix, packed_in_turns, packed_side_by_side

SUB_BLOCK = 16
"""Positions that lie together in the cache: `kKeys` in src/attention.h."""


class NativeStore:
    """Keys and values of all layers, in the kernels' layout."""

    is_used = True

    def __init__(self, stack: "NativeStack", num_blocks: int, block_size: int) -> None:
        parts, kernels = stack.parts, stack.kernels
        self.block_size, self._kernels, self._num_layers = block_size, kernels, len(parts.layers)
        self._block_bytes = block_size * parts.kv_heads * parts.head_dim * stack.dtype.itemsize
        layer_bytes = num_blocks * self._block_bytes
        self._keys = Memory(kernels, self._num_layers * layer_bytes)
        self._values = Memory(kernels, self._num_layers * layer_bytes)
        self.struct = CacheStruct(self._keys.at, self._values.at, layer_bytes)

    def copy_blocks(self, copies: Seq[BlockCopy]) -> None:
        """Copy blocks in every layer, for forks that are about to write into them."""
        pairs = array("i", [number for copy in copies for number in (copy.source, copy.target)])
        self._kernels.functions.bh_copy_blocks(
            ctypes.byref(self.struct), self._num_layers, self._block_bytes, pairs.buffer_info()[0], len(copies)
        )


class NativeStack:
    """A recognised decoder. It takes the model's weights; what is left of the model computes with the packed ones.

    Raises OtherArchitecture, having changed nothing.
    """

    def __init__(self, model: PreTrainedModel, kernels: Kernels, cache: BlockCache, quantize: bool) -> None:
        self.parts = parts = recognize(model)
        self.kernels, self.dtype = kernels, model.dtype
        if cache.block_size % SUB_BLOCK:
            raise OtherArchitecture(f"a block_size that is no multiple of {SUB_BLOCK}")
        linears = [module for module in model.modules() if type(module) is nn.Linear]
        if any(weight_of(linear) is None for linear in linears):
            raise OtherArchitecture(f"weights of the type {self.dtype} or of sizes that are no multiple of 16")
        self._num_positions = num_positions(model, cache)
        cosines, sines = angles(parts, self._num_positions, self.dtype)
        self._kept: list[torch.Tensor | PackedMatrix] = [cosines, sines]
        layers = (LayerStruct * len(parts.layers))(
            *(
                self._pack_layer(layer, window, quantize)
                for layer, window in zip(parts.layers, parts.windows, strict=True)
            )
        )
        shape = self._shape(model, cosines, sines, cache.block_size, quantize)
        functions = kernels.functions
        self._at: int = functions.bh_stack(FORMATS[self.dtype], ctypes.byref(shape), layers, len(layers))
        self._shape_struct = shape
        self.vocab_size, self.hidden_size = shape.head.n, shape.hidden
        weakref.finalize(self, functions.bh_stack_free, self._at)

    @torch.inference_mode()
    def forward(
        self, feeds: Seq[Feed], kept: Seq[int], layers: Seq[int], store: NativeStore, num_layers: int
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """The logits of the `kept` tokens, (N, V) float32, and the states that go into some layers, (T, d) each."""
        token_ids, positions, places, tables = array("i"), array("i"), array("i"), array("i")
        for feed in feeds:
            sequence, count = feed.sequence, len(feed.token_ids)
            before = sequence.num_cached
            places.extend((len(token_ids), count, before, len(tables)))
            token_ids.extend(feed.token_ids)
            tables.extend(sequence.block_ids)
            position = before + sequence.num_masked
            if position + count > self._num_positions:
                raise ValueError(f"position {position + count - 1} is beyond the model's {self._num_positions}")
            if count == 1:
                positions.append(position)
            else:
                positions.extend(range(position, position + count))
        wanted = array("i", kept)
        logits = torch.empty(len(wanted), self.vocab_size)
        states = {layer: torch.empty(len(token_ids), self.hidden_size, dtype=self.dtype) for layer in layers}
        hidden = None
        if states:
            hidden = (ctypes.c_void_p * (num_layers + 1))()
            for layer, state in states.items():
                hidden[layer] = state.data_ptr()
        step = StepStruct(
            len(token_ids), len(feeds), len(wanted), num_layers,
            *(numbers.buffer_info()[0] for numbers in (token_ids, positions, places, tables, wanted)),
            logits.data_ptr(), ctypes.addressof(hidden) if hidden is not None else None,
        )  # fmt: skip
        kernels = self.kernels
        kernels.functions.bh_forward(self._at, kernels.team, ctypes.byref(store.struct), ctypes.byref(step))
        return logits, states

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (n, d) through the head alone: (n, V) float32."""
        rows = hidden.to(self.dtype).contiguous()
        logits = torch.empty(len(rows), self.vocab_size)
        self.kernels.functions.bh_project(self._at, self.kernels.team, rows.data_ptr(), len(rows), logits.data_ptr())
        return logits

    def _pack_layer(self, layer: Any, window: int, quantize: bool) -> LayerStruct:
        """Pack one layer's weights and put layers over the packed ones in their place."""
        attention, mlp = layer.self_attn, layer.mlp
        names = ("q_proj", "k_proj", "v_proj")
        qkv = packed_side_by_side(self.kernels, [_parts(getattr(attention, name)) for name in names], quantize)
        begin = 0
        for name in names:
            packed = PackedLinear(qkv, getattr(attention, name), begin)
            setattr(attention, name, packed)
            begin += packed.out_features
        out = self._pack_alone(attention, "o_proj", quantize)
        gate_up = packed_in_turns(self.kernels, _parts(mlp.gate_proj), _parts(mlp.up_proj), quantize)
        mlp.gate_proj = PackedLinear(gate_up, mlp.gate_proj, 0, gap=PANEL)
        mlp.up_proj = PackedLinear(gate_up, mlp.up_proj, PANEL, gap=PANEL)
        down = self._pack_alone(mlp, "down_proj", quantize)
        self._kept.extend((qkv, gate_up))
        return LayerStruct(
            qkv.struct, out.struct, gate_up.struct, down.struct,
            self._floats(layer.input_layernorm), self._floats(layer.post_attention_layernorm),
            self._floats(getattr(attention, "q_norm", None)), self._floats(getattr(attention, "k_norm", None)), window,
        )  # fmt: skip

    def _pack_alone(self, parent: Any, name: str, quantize: bool) -> PackedMatrix:
        module = getattr(parent, name)
        matrix = packed_side_by_side(self.kernels, [_parts(module)], quantize)
        setattr(parent, name, PackedLinear(matrix, module))
        self._kept.append(matrix)
        return matrix

    def _shape(
        self, model: PreTrainedModel, cosines: torch.Tensor, sines: torch.Tensor, block_size: int, quantize: bool
    ) -> ShapeStruct:
        parts = self.parts
        embedding = parts.embedding.weight.detach().contiguous()
        head = packed_side_by_side(self.kernels, [_parts(parts.head)], quantize)
        is_tied = parts.head.weight is parts.embedding.weight
        model.set_output_embeddings(PackedLinear(head, parts.head, is_shared=is_tied))
        self._kept.extend((embedding, head))
        return ShapeStruct(
            embedding.shape[1], parts.heads, parts.kv_heads, parts.head_dim, 2 * cosines.shape[1], parts.intermediate,
            block_size, parts.eps, parts.scaling, embedding.data_ptr(), cosines.data_ptr(), sines.data_ptr(),
            self._floats(parts.norm), head.struct,
        )  # fmt: skip

    def _floats(self, norm: Any) -> int | None:
        """Where the weight of a norm lies as floats."""
        if norm is None:
            return None
        weight: torch.Tensor = norm.weight.detach().float().contiguous()
        self._kept.append(weight)
        return weight.data_ptr()


def _parts(module: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    parts = weight_of(module)
    assert parts is not None
    return parts


def num_positions(model: PreTrainedModel, cache: BlockCache) -> int:
    """How many positions a sequence may come to: the model's limit, and what the cache holds beside masked tokens."""
    room = 2 * cache.num_blocks * cache.block_size
    limit = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    return min(limit, room) if limit and limit > 0 else room
