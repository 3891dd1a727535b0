"""Makes drafters of the loaded draft models and of the main model's own layers."""

from collections.abc import Mapping

from transformers import PreTrainedModel

from beamhouse.config.settings import EngineSettings
from beamhouse.engine.attention.rotary import stretch_of
from beamhouse.engine.decoding.assisted import Assistants
from beamhouse.engine.decoding.drafting.draft_runner import DraftRunner
from beamhouse.engine.decoding.drafting.drafter import Drafter
from beamhouse.engine.decoding.drafting.early_exit import EarlyExit
from beamhouse.engine.decoding.drafting.model import DraftModel, SameVocabulary
from beamhouse.engine.decoding.drafting.other_vocabulary import Universal
from beamhouse.engine.decoding.drafting.retokenized_text import Retokenized
from beamhouse.engine.decoding.drafting.shared_vocabulary import SharedVocabulary, Tokenizers
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.loading.draft_models import Assistant
from beamhouse.engine.native.pick import PickedKernels
from beamhouse.engine.runners.backend import pick_backend
from beamhouse.engine.runners.early_exit import EarlyExitRunner
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.rope_scaling import Stretch
from beamhouse.schemas.generation.resolved import ends_of

EARLY_EXIT_SHARE = 4
"""The cache of early exits holds a fourth of the tokens of the main one, but one full sequence at least."""


def build_assistants(
    main: PackedRunner,
    tokenizer_json: str | None,
    given: Mapping[str, Assistant],
    settings: EngineSettings,
    picked: PickedKernels,
) -> Assistants:
    """picked: the main model's kernels, whose threads the draft models share.

    Every draft model gets a cache for as many tokens as the main one, in its own, smaller, keys and values.

    Raises ModelUnsupported where a draft model does not run packed or shares no tokens with the main model.
    """
    models = {}
    for name, assistant in given.items():
        try:
            models[name] = _drafter(main, tokenizer_json, assistant, settings, picked)
        except ModelUnsupported as error:
            raise ModelUnsupported(f"the draft model {name!r}: {error}") from error
    return Assistants(models, _early_exit(main, settings.most_step_tokens), settings.most_step_tokens)


def _drafter(
    main: PackedRunner,
    tokenizer_json: str | None,
    assistant: Assistant,
    settings: EngineSettings,
    picked: PickedKernels,
) -> Drafter:
    cache = _cache(main, main.cache.num_blocks, stretch_of(assistant.model))
    runner = PackedRunner(assistant.model, cache, pick_backend(assistant.model, cache, settings, picked))
    drafting = DraftRunner(runner, cache, settings.most_step_tokens)
    runner.check()
    if tokenizer_json is None or assistant.tokenizer_json is None:
        if runner.vocab_size != main.vocab_size:
            sizes = f"{runner.vocab_size} tokens, the main one {main.vocab_size}"
            raise ModelUnsupported(f"it has {sizes}; both need a tokenizer then")
        return DraftModel(drafting, SameVocabulary(main.vocab_size))
    tokenizers = Tokenizers.load(tokenizer_json, assistant.tokenizer_json)
    if tokenizers.are_alike:
        return DraftModel(drafting, SameVocabulary(main.vocab_size))
    shared = SharedVocabulary(tokenizers, main.vocab_size, runner.vocab_size, main.device)
    if not len(shared):
        raise ModelUnsupported("its tokenizer shares no token with the main one")
    return Universal(Retokenized(drafting, tokenizers, _end_ids(assistant.model)), DraftModel(drafting, shared))


def _early_exit(main: PackedRunner, chunk: int) -> EarlyExit | None:
    one_sequence = main.cache.num_blocks_for(main.context_len)
    num_blocks = max(one_sequence, main.cache.num_blocks // EARLY_EXIT_SHARE)
    cache = _cache(main, num_blocks, main.cache.stretch)
    try:
        return EarlyExit(EarlyExitRunner(main, cache), cache, chunk)
    except ModelUnsupported:
        return None


def _cache(main: PackedRunner, num_blocks: int, stretch: Stretch | None) -> BlockCache:
    return BlockCache(num_blocks, main.cache.block_size, prefix_caching=False, stretch=stretch)


def _end_ids(model: PreTrainedModel) -> frozenset[int]:
    return frozenset(ends_of(getattr(model.generation_config, "eos_token_id", None)))
