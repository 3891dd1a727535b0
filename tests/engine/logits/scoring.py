"""What tests of scores need: requests, rows, a pipeline, tokenizers, and the same through the library."""

import random
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig as LibraryConfig
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessorList

from beamhouse.engine.link.messages import Constraint, Named
from beamhouse.engine.logits.constraints.constraint import Constraints
from beamhouse.engine.logits.pipeline import APPLYING, Pipeline
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.state.request import Request, Row, Sequence
from beamhouse.schemas.generation.config import GenerationConfig
from tests.engine import requests

CPU = torch.device("cpu")


def make_request(
    prompt: list[int],
    eos: tuple[int, ...] = (),
    constraint: Constraint | None = None,
    named: list[Named] | None = None,
    criteria: list[Named] | None = None,
    **fields: Any,
) -> Request:
    """A request without a cut, and of a length that no test comes to, unless its fields say otherwise."""
    outside = {"constraint": constraint, "logits_processor": named or [], "stopping_criteria": criteria or []}
    return requests.make_request(prompt, eos=eos, **outside, **{"max_length": 100_000, "top_k": 0} | fields)


def make_row(request: Request, generated: list[int]) -> Row:
    prompt = request.submission.prompt_ids
    return Row(request, Sequence([*prompt, *generated], len(prompt)))


def make_pipeline(vocab_size: int, registry: Registry | None = None, **constraints: Any) -> Pipeline:
    given = {"tries": {}, "spell": None} | constraints
    return Pipeline(vocab_size, registry or Registry({}, {}), CPU, Constraints(vocab_size, **given))


def process(pipeline: Pipeline, rows: list[Row], logits: torch.Tensor) -> torch.Tensor:
    for row in rows:
        if row.request.memory.get(APPLYING) is None:
            pipeline.prepare(row.request)
    return pipeline.process(rows, logits)


def byte_tokenizer(size: int = 320) -> Tokenizer:
    """A byte-level BPE tokenizer; id 0 is its end token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=["<eos>"], show_progress=False
    )
    tokenizer.train_from_iterator(
        ['stop here, stopper: the "end" is {"near": 12} \u00e9\u00e8 \u20ac\u20ac'] * 20, trainer
    )
    return tokenizer


def bytes_of(tokenizer: Tokenizer) -> list[bytes]:
    """What each token stands for."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(hidden)}
    texts = [tokenizer.id_to_token(token) for token in range(tokenizer.get_vocab_size())]
    return [bytes(table[char] for char in text) for text in texts]


class Library:
    """The processors `generate()` of the library would build, around a model of one layer."""

    def __init__(self) -> None:
        sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
        self._model = LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes))

    def processors(self, request: Request, num_rows: int) -> LogitsProcessorList:
        fields = request.config.model_dump(include=set(GenerationConfig.model_fields), exclude_none=True)
        if "sequence_bias" in fields:
            fields["sequence_bias"] = [[list(ids), bias] for ids, bias in fields["sequence_bias"]]
        config = LibraryConfig(**{"pad_token_id": 0} | fields)
        self._model._prepare_special_tokens(config, True, device="cpu")
        constraint = request.submission.constraint
        prompt = torch.tensor([request.submission.prompt_ids])
        return self._model._get_logits_processor(
            config,
            input_ids_seq_length=prompt.shape[1],
            encoder_input_ids=prompt,
            prefix_allowed_tokens_fn=(lambda _, ids: constraint.token_ids) if constraint else None,
            logits_processor=LogitsProcessorList(),
            device="cpu",
            model_kwargs={"attention_mask": torch.ones_like(prompt).expand(num_rows, -1)},
        )

    def process(self, rows: list[Row], logits: torch.Tensor) -> torch.Tensor:
        """Rows of one request."""
        input_ids = torch.tensor([row.sequence.token_ids for row in rows])
        return self.processors(rows[0].request, len(rows))(input_ids, logits.clone())


def random_fields(rng: random.Random, vocab_size: int, has_eos: bool) -> dict[str, Any]:
    """Any mixture of the fields that processors read, each as random as it may be."""

    def ids(most: int, start: int = 0) -> list[int]:
        return [rng.randrange(start, vocab_size) for _ in range(rng.randint(1, most))]

    half = vocab_size // 2  # forced tokens below, suppressed ones above: the library refuses an overlap

    offered: dict[str, Any] = {
        "sequence_bias": [(ids(3), rng.uniform(-5, 5)) for _ in range(rng.randint(1, 12))],
        "encoder_repetition_penalty": rng.uniform(0.5, 2),
        "repetition_penalty": rng.uniform(0.5, 2),
        "no_repeat_ngram_size": rng.randint(1, 4),
        "encoder_no_repeat_ngram_size": rng.randint(1, 4),
        "bad_words_ids": [[vocab_size - 1], [3], *(ids(3) for _ in range(rng.randint(1, 6)))],
        "min_length": rng.randint(1, 16),
        "min_new_tokens": rng.randint(1, 8),
        "forced_bos_token_id": rng.randrange(half),
        "forced_eos_token_id": [rng.randrange(half) for _ in range(rng.randint(1, 3))],
        "remove_invalid_values": True,
        "suppress_tokens": ids(5, half),
        "begin_suppress_tokens": ids(5),
        "temperature": rng.uniform(0.3, 3),
        "top_h": rng.uniform(0.1, 1),
        "top_k": rng.randint(1, vocab_size + 5 if vocab_size < 100 else 60),
        "top_p": rng.uniform(0, 1),
        "min_p": rng.uniform(0, 0.5),
        "typical_p": rng.uniform(0.05, 0.99),
        "epsilon_cutoff": rng.uniform(0.001, 0.1),
        "eta_cutoff": rng.uniform(0.001, 0.3),
        "renormalize_logits": True,
    }
    if has_eos:
        offered["exponential_decay_length_penalty"] = (rng.randint(0, 6), rng.uniform(0.9, 1.5))
    return _picked(rng, offered)


def _picked(rng: random.Random, offered: dict[str, Any]) -> dict[str, Any]:
    """Some of these fields, more or less many."""
    share = rng.choice([0.1, 0.3, 0.6])
    fields = {name: value for name, value in offered.items() if rng.random() < share}
    if rng.random() < 0.7:
        # Smallest finite numbers and several forced tokens would tie, and the library orders ties at random.
        fields.pop("remove_invalid_values", None)
        if "forced_eos_token_id" in fields:
            fields["forced_eos_token_id"] = fields["forced_eos_token_id"][0]
        fields["do_sample"] = True
    return fields
