"""Puts an engine together: files, weights, cache, processors, strategies."""

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel

from beamhouse.config.settings import EngineSettings, ModelSettings
from beamhouse.engine.attention.rotary import stretch_of
from beamhouse.engine.decoding.modes import MODES, strategies
from beamhouse.engine.decoding.strategy import ModelFacts
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.loading.defaults import read_generation_defaults
from beamhouse.engine.loading.draft_models import Assistant, load_assistants
from beamhouse.engine.loading.drafters import build_assistants
from beamhouse.engine.loading.files import ReportProgress, find_model
from beamhouse.engine.loading.model import load_model
from beamhouse.engine.loading.tokenizer import TokenizerFiles, load_tokenizer
from beamhouse.engine.logits.constraints.constraint import Constraints
from beamhouse.engine.logits.constraints.trie import Trie, load_tries
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.loop.obeyed_fields import NOT_OBEYED, OBEYED
from beamhouse.engine.loop.step_budget import StepLimits
from beamhouse.engine.native.pick import num_threads, pick_kernels
from beamhouse.engine.runners.backend import pick_backend
from beamhouse.engine.runners.context import made_for
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.decoder_config import HeadSizes, decoder_config
from beamhouse.engine.text.chat import ChatTemplate
from beamhouse.engine.text.token_spelling import Spelling
from beamhouse.engine.text.tokenizer import Text
from beamhouse.engine.watermark.profiles import Profiles, check_default, load_profiles
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.schemas.words import Stage


@dataclass(frozen=True, slots=True)
class Extensions:
    """What requests may name beside their parameters. tokenizer_json, text: of the main model, both or none."""

    registry: Registry
    tries: dict[str, Trie]
    tokenizer_json: str | None = None
    assistants: Mapping[str, Assistant] = field(default_factory=dict)
    watermarks: Profiles = field(default_factory=dict)
    text: Text | None = None

    @property
    def spell(self) -> Callable[[int], Spelling] | None:
        """What the main model's tokens add to a text; None without a tokenizer."""
        return None if self.text is None else self.text.spelling


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model and what else its files hold. defaults: what requests that are silent ask of it."""

    name: str
    model: PreTrainedModel
    tokenizer: TokenizerFiles
    defaults: GenerationConfig


@dataclass(frozen=True, slots=True)
class Built:
    """An engine, and what the HTTP process is told of its model."""

    engine: Engine
    info: ModelInfo


def build(model_settings: ModelSettings, settings: EngineSettings, work: Path, progress: ReportProgress) -> Built:
    """Load the model and make an engine around it. work: a private directory for the tokenizer file.

    Raises ModelUnsupported, with a reason for people.
    """
    loaded = load_main_model(model_settings, work, progress)
    torch.set_num_threads(num_threads(loaded.model, settings))
    progress(Stage.CHECK, 0.0)
    extensions = load_extensions(model_settings, loaded, load_assistants(model_settings, work, progress))
    runner, engine = assemble(loaded.model, settings, extensions, model_settings.quantize)
    runner.check()
    if runner.backend.variant != "torch":
        # The kernels have threads of their own; torch's, which wait by spinning, would only be in their way.
        torch.set_num_threads(1)
    return Built(engine, describe(loaded, settings, runner, extensions))


def load_main_model(settings: ModelSettings, work: Path, progress: ReportProgress) -> Loaded:
    """The main model. Raises ModelUnsupported."""
    path = find_model(settings, progress)
    tokenizer = load_tokenizer(path, work)
    model = load_model(path, settings, progress)
    return Loaded(settings.name, model, tokenizer, read_generation_defaults(path, model.config))


def assemble(
    model: PreTrainedModel, settings: EngineSettings, extensions: Extensions, quantize: str | None = None
) -> tuple[PackedRunner, Engine]:
    """An engine around a loaded model, whose weights it takes: they may be packed and the plain ones let go."""
    num_blocks, stretch = num_blocks_for(model, settings), stretch_of(model)
    cache = BlockCache(num_blocks, settings.block_size, prefix_caching=settings.prefix_caching, stretch=stretch)
    picked = pick_kernels(model, settings)
    runner = PackedRunner(model, cache, pick_backend(model, cache, settings, picked, quantize))
    limits = StepLimits(settings.max_rows, settings.most_step_tokens, settings.max_waiting, settings.max_stretch)
    constraints = Constraints(runner.vocab_size, extensions.tries, extensions.spell)
    constraints.warm_up()
    assistants = build_assistants(runner, extensions.tokenizer_json, extensions.assistants, settings, picked)
    pipeline = Pipeline(
        runner.vocab_size, extensions.registry, runner.device, constraints, extensions.watermarks, picked.kernels
    )
    return runner, Engine(runner, cache, limits, pipeline, strategies(facts_of(model), assistants))


def facts_of(model: PreTrainedModel) -> ModelFacts:
    """What the decoding modes know of a model."""
    config = decoder_config(model.config)
    return ModelFacts(config.num_hidden_layers, bool(getattr(model.config, "tie_word_embeddings", False)))


def load_extensions(settings: ModelSettings, loaded: Loaded, assistants: Mapping[str, Assistant]) -> Extensions:
    """The registered classes, the named tries and watermarks, and what they need of the tokenizer; the draft models.

    Raises ModelUnsupported for what is wrong with them or with their settings.
    """
    tokenizer = loaded.tokenizer
    text: Text | None = None
    tokenizer_json = None
    if tokenizer.file is not None:
        text = Text.load(tokenizer.file, None, tokenizer.special_tokens, tokenizer.switches)
        tokenizer_json = Path(tokenizer.file).read_text(encoding="utf-8")
    token_bytes: Seq[bytes] | None = None if text is None else text.token_bytes()
    try:
        registry = Registry.load(settings.logits_processors, settings.stopping_criteria, token_bytes)
        tries, watermarks = load_tries(settings.tries), load_watermarks(settings, loaded)
        return Extensions(registry, tries, tokenizer_json, assistants, watermarks, text)
    except (ValueError, OSError) as error:
        raise ModelUnsupported(str(error)) from error


def load_watermarks(settings: ModelSettings, loaded: Loaded) -> Profiles:
    """The watermarks requests may name. Raises ValueError."""
    vocab_size = decoder_config(loaded.model.config).vocab_size
    profiles = load_profiles(settings.watermarks, loaded.defaults, vocab_size)
    check_default(profiles, settings.default_watermark, settings.require_watermark)
    return profiles


def num_blocks_for(model: PreTrainedModel, settings: EngineSettings) -> int:
    """Blocks that fill the cache's share of memory, but no more than all rows at full length can use."""
    if settings.cache_tokens:
        return max(1, settings.cache_tokens // settings.block_size)
    heads, num_layers = HeadSizes.of(model.config), decoder_config(model.config).num_hidden_layers
    token_bytes = 2 * num_layers * heads.num_kv * heads.size * model.dtype.itemsize
    room = int(settings.cache_gib * 2**30) // (token_bytes * settings.block_size)
    context = made_for(model)
    if context:
        room = min(room, settings.max_rows * -(-context // settings.block_size))
    return max(1, int(room))


def describe(loaded: Loaded, settings: EngineSettings, runner: PackedRunner, extensions: Extensions) -> ModelInfo:
    """What the HTTP process is told."""
    model, tokenizer, cache = loaded.model, loaded.tokenizer, runner.cache
    config = decoder_config(model.config)
    return ModelInfo(
        model_id=loaded.name,
        revision=getattr(model.config, "_commit_hash", None),
        model_type=model.config.model_type,
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(runner.device),
        num_parameters=model.num_parameters(),
        vocab_size=runner.vocab_size,
        context_len=runner.context_len,
        max_len=runner.max_len,
        default_len=runner.default_len,
        generation_config=loaded.defaults.to_diff_dict(),
        tokenizer_file=tokenizer.file,
        chat_template=tokenizer.chat_template,
        special_tokens=tokenizer.special_tokens,
        tokenizer_switches=tokenizer.switches,
        modes=[mode.value for mode in MODES],
        fields=sorted(OBEYED),
        not_obeyed=NOT_OBEYED,
        logits_processors=sorted(extensions.registry.logits_processors),
        stopping_criteria=sorted(extensions.registry.stopping_criteria),
        tries=sorted(extensions.tries),
        watermarks=sorted(extensions.watermarks),
        assistants={name: dict(assistant.defaults) for name, assistant in extensions.assistants.items()},
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        num_heads=config.num_attention_heads,
        max_rows=settings.max_rows,
        max_beams=min(settings.max_beams, settings.max_rows),
        cache_tokens=cache.num_blocks * cache.block_size,
        block_size=cache.block_size,
        runner=runner.name,
        attention=runner.backend.attention,
        kernels=runner.backend.kernels,
        reads_tools=ChatTemplate(tokenizer.switches.tool_template or tokenizer.chat_template, {}).reads("tools"),
    )
