"""Runs a recognised decoder whole in the native kernels: its weights packed, its layers run in one call a step."""

import ctypes
import weakref
from array import array
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from beamhouse.engine.attention.rotary import PositionRun, spans_of
from beamhouse.engine.native.architecture import query_scales, recognize, rotaries
from beamhouse.engine.native.library import HugePages, Kernels
from beamhouse.engine.native.matrices import FORMATS
from beamhouse.engine.native.mirrored import (
    SUB_BLOCK,
    CacheStruct,
    LayerStruct,
    RotaryStruct,
    ShapeStruct,
    StepStruct,
)
from beamhouse.engine.native.packing import Packer
from beamhouse.engine.native.parts import Decoder, Rotary, require
from beamhouse.engine.runners.torch_backend import TorchBackend, plain_attention
from beamhouse.engine.state.batch import Feed
from beamhouse.engine.state.block_cache import BlockCache, BlockCopy


class NativeStore:
    """Keys and values of all layers, in the kernels' layout."""

    is_used = True

    def __init__(self, kernels: Kernels, decoder: Decoder, dtype: torch.dtype, cache: BlockCache) -> None:
        self._kernels, self._num_layers = kernels, len(decoder.layers)
        self._block_bytes = cache.block_size * decoder.heads.num_kv * decoder.heads.dim * dtype.itemsize
        layer_bytes = cache.num_blocks * self._block_bytes
        self._keys = HugePages(kernels, self._num_layers * layer_bytes)
        self._values = HugePages(kernels, self._num_layers * layer_bytes)
        self.struct = CacheStruct(self._keys.at, self._values.at, layer_bytes)

    def copy_blocks(self, copies: Seq[BlockCopy]) -> None:
        """Copy blocks in every layer, for forks that are about to write into them."""
        pairs = array("i", [number for copy in copies for number in (copy.source, copy.target)])
        self._kernels.functions.bh_copy_blocks(
            ctypes.byref(self.struct), self._num_layers, self._block_bytes, pairs.buffer_info()[0], len(copies)
        )


class Turns:
    """How layers turn queries and keys, as the kernels read it in each step. structs: one for each kind of layer."""

    def __init__(self, rotaries: dict[str, Rotary]) -> None:
        self._kinds, self._rotaries = list(rotaries), list(rotaries.values())
        self._is_stretched = any(rotary.rows.stretch for rotary in self._rotaries)
        structs = (RotaryStruct(None, None, None, rotary.dim, int(rotary.pairing)) for rotary in self._rotaries)
        self.structs = (RotaryStruct * len(self._rotaries))(*structs)

    def number_of(self, kind: str | None) -> int:
        """The place of a kind of layer among the structures, -1 for one that turns nothing."""
        return -1 if kind is None else self._kinds.index(kind)

    def prepare(self, feeds: Seq[Feed], positions: "array[int]", end: int) -> list[object]:
        """Point to the rows of a step's tokens. positions: (T,), all before `end`. Returns what has to live as long."""
        spans = spans_of(feeds) if self._is_stretched else [PositionRun(0, end, 0)]
        held: list[object] = []
        for rotary, struct in zip(self._rotaries, self.structs, strict=True):
            rows, places = rotary.rows, positions
            if rows.are_plain(spans):
                for span in spans:
                    rows.reach(span.first, span.end)
                tables = rows.tables
            else:
                tables, places = rows.gathered(spans), array("i", range(len(positions)))
            struct.cosines, struct.sines = (table.data_ptr() for table in tables)
            struct.rows = places.buffer_info()[0]
            held.append((tables, places))
        return held


class QueryScales:
    """What queries are multiplied by at each position, as far as any came until now. computed: None for nothing."""

    def __init__(self, computed: Callable[[int], torch.Tensor] | None) -> None:
        self._computed, self._table = computed, torch.empty(0)

    def reaching(self, end: int) -> int | None:
        """Where the factors of positions 0 ... end lie, as floats, until a farther end is asked for."""
        if self._computed is None:
            return None
        if end > len(self._table):
            self._table = self._computed(2 * end)
        return self._table.data_ptr()


@dataclass(frozen=True, slots=True, eq=False)
class _Laid:
    """A step as flat arrays. token_ids, positions: (T,). feeds: (F, 4), see FeedStruct. end: behind all positions."""

    token_ids: "array[int]"
    positions: "array[int]"
    feeds: "array[int]"
    tables: "array[int]"
    end: int


def _laid(feeds: Seq[Feed]) -> _Laid:
    token_ids, positions, places, tables, end = array("i"), array("i"), array("i"), array("i"), 0
    for feed in feeds:
        sequence, count = feed.sequence, len(feed.token_ids)
        before = sequence.num_cached
        places.extend((len(token_ids), count, before, len(tables)))
        token_ids.extend(feed.token_ids)
        tables.extend(sequence.block_ids)
        position = before + sequence.num_masked
        end = max(end, position + count)
        if count == 1:
            positions.append(position)
        else:
            positions.extend(range(position, position + count))
    return _Laid(token_ids, positions, places, tables, end)


class NativeBackend:
    """A recognised decoder. It takes the model's weights; what is left of the model computes with the packed ones.

    remark: what is said of it beside the kernels' variant. Raises OtherArchitecture, having changed nothing.
    """

    attention = "paged, native"

    def __init__(
        self,
        model: PreTrainedModel,
        kernels: Kernels,
        cache: BlockCache,
        quantize: str | None = None,
        remark: str = "",
    ) -> None:
        self._decoder = decoder = recognize(model)
        self._model, self._kernels, self._dtype, self._remark = model, kernels, model.dtype, remark
        require(cache.block_size % SUB_BLOCK == 0, f"a block_size that is no multiple of {SUB_BLOCK}")
        self._turns = turns = Turns(rotaries(decoder, model.dtype))
        self._scales = QueryScales(query_scales(decoder, model.dtype))
        self._packer = packer = Packer(kernels, quantize)
        layers = (LayerStruct * len(decoder.layers))(
            *(packer.layer(layer, decoder.is_gated, turns.number_of(layer.rotary)) for layer in decoder.layers)
        )
        head, packed_head = packer.head(decoder.head, decoder.head.weight is decoder.embedding.weight)
        model.set_output_embeddings(packed_head)
        shape = self._shape(decoder, cache.block_size)
        shape.head = head
        functions = kernels.functions
        self._at: int = functions.bh_decoder(FORMATS[model.dtype], ctypes.byref(shape), layers, len(layers))
        self._vocab_size, self._hidden_size = head.n, shape.hidden
        weakref.finalize(self, functions.bh_decoder_free, self._at)
        self.plain, self.variant = plain_attention(model), kernels.variant
        self.kernels = f"{kernels.variant}, whole decoder{remark}"

    def instead(self, reason: str) -> TorchBackend:
        # The linear layers stay packed: they compute as the plain ones.
        return TorchBackend(self._model, f"{self.variant}, linear layers{self._remark}")

    def new_store(self, cache: BlockCache) -> NativeStore:
        return NativeStore(self._kernels, self._decoder, self._dtype, cache)

    @torch.inference_mode()
    def run(
        self,
        feeds: Seq[Feed],
        kept: Seq[int],
        layers: Seq[int],
        store: NativeStore,
        num_layers: int | None = None,
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        laid, learned = _laid(feeds), self._decoder.positions
        if learned is not None and laid.end > len(learned):
            raise ValueError(f"position {laid.end - 1} is beyond the model's {len(learned)}")
        turned = self._turns.prepare(feeds, laid.positions, laid.end)  # noqa: F841  # it holds what the step points to
        wanted, num_run = array("i", kept), len(self._decoder.layers) if num_layers is None else num_layers
        logits = torch.empty(len(wanted), self._vocab_size)
        states = {layer: torch.empty(len(laid.token_ids), self._hidden_size, dtype=self._dtype) for layer in layers}
        hidden = None
        if states:
            hidden = (ctypes.c_void_p * (num_run + 1))()
            for layer, state in states.items():
                hidden[layer] = state.data_ptr()
        arrays = (laid.token_ids, laid.positions, laid.feeds, laid.tables, wanted)
        step = StepStruct(
            len(laid.token_ids), len(feeds), len(wanted), num_run, *(numbers.buffer_info()[0] for numbers in arrays),
            ctypes.addressof(self._turns.structs), self._scales.reaching(laid.end), logits.data_ptr(),
            ctypes.addressof(hidden) if hidden is not None else None,
        )  # fmt: skip
        kernels = self._kernels
        kernels.functions.bh_forward(self._at, kernels.team, ctypes.byref(store.struct), ctypes.byref(step))
        return logits, states

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        rows = hidden.to(self._dtype).contiguous()
        logits = torch.empty(len(rows), self._vocab_size)
        self._kernels.functions.bh_project(self._at, self._kernels.team, rows.data_ptr(), len(rows), logits.data_ptr())
        return logits

    def _shape(self, decoder: Decoder, block_size: int) -> ShapeStruct:
        """All but the head."""
        heads, scales, packer = decoder.heads, decoder.scales, self._packer
        embedding = decoder.embedding.weight
        return ShapeStruct(
            embedding.shape[1], heads.num, heads.num_kv, heads.dim, heads.step, heads.key_begin, heads.value_begin,
            decoder.intermediate, block_size, int(decoder.residual), int(decoder.activation), int(decoder.is_gated),
            scales.embedding, scales.query, scales.branch, scales.logit, scales.logit_divisor, scales.logit_cap,
            packer.at(embedding), None if decoder.positions is None else packer.at(decoder.positions),
            packer.norm(decoder.norm),
        )  # fmt: skip
