"""From a request of our own protocol to the engine's submissions: pure functions."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.link.messages import Constraint, Named, Submission, Wanted
from beamhouse.schemas.beamhouse.generate import (
    GenerateRequest,
    NamedCallable,
    Outputs,
    PrefixAllowedTokens,
    TransitionScores,
)
from beamhouse.schemas.beamhouse.scores import ScoreRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolution import merge, resolve, resolve_unread
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.generation.watermarking import HIDDEN_WATERMARK
from beamhouse.schemas.judge.asked import Asked, Prompt
from beamhouse.schemas.judge.judge import problems
from beamhouse.schemas.judge.warnings import warnings
from beamhouse.server.asking.filling import filled
from beamhouse.server.asking.force_words import by_given_name
from beamhouse.server.service import Model

ID_PREFIX = "gen-"
MASK = 2**64 - 1
LENGTHS = ("max_length", "min_length", "min_new_tokens")
"""The fields in which the resolved configurations of several prompts may differ."""
CARRIED = ("priority", "deadline_s", "cache_salt")
"""When and beside whom a request runs: the same fields in bodies and in submissions."""


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """A judged request, ready for the engine. config: of the first prompt; `max_length` differs with the prompts.

    shown_config: what answers show of it, if they are to show it; without the keys of a watermark. given_names: as in
    the request. num_copies: submissions of each prompt.
    """

    id: str
    model_name: str
    config: Resolved
    shown_config: GenerationConfig | None
    outputs: Outputs
    submissions: list[Submission]
    warnings: list[str]
    given_names: Mapping[str, str] = field(default_factory=dict)
    num_copies: int = 1

    def id_with(self, prefix: str) -> str:
        """The id, as another protocol begins its own."""
        return prefix + self.id.removeprefix(ID_PREFIX)

    @property
    def is_streamed(self) -> bool:
        """Whether somebody reads the tokens as they come."""
        return self.submissions[0].is_streamed

    @property
    def constraint(self) -> Constraint | None:
        """What the text must follow, where that has to be compiled first."""
        constraint = self.submissions[0].constraint
        return None if constraint is None or constraint.kind is None else constraint

    @property
    def num_rows(self) -> int:
        """Sequences of each prompt."""
        return self.config.num_return_sequences

    @property
    def num_prompt_tokens(self) -> int:
        return sum(len(submission.prompt_ids) for submission in self.submissions[:: self.num_copies])


def judged(body: GenerateRequest, own: GenerationConfig, prompts: list[Prompt], model: Model) -> Asked:
    """The request with what runs after each prompt, once nothing is wrong with it. own: its own configuration.

    Raises InvalidRequest with all problems at once.
    """
    asked = asked_of(body, own, prompts, model)
    if found := problems(asked, model.facts):
        raise InvalidRequest([by_given_name(problem, body, own) for problem in found])
    return asked


def asked_of(body: GenerateRequest, own: GenerationConfig, prompts: list[Prompt], model: Model) -> Asked:
    """The request with what runs after each prompt, whatever may be wrong with it. own: its own configuration."""
    if body.outputs is not None and body.outputs.prompt_only:
        return Asked(body, own, [resolve_unread(own, prompt.num_tokens) for prompt in prompts], prompts)
    drafting = drafting_file(body.assistant_model, model)

    def resolved(own: GenerationConfig, prompt: Prompt) -> Resolved:
        return resolve(
            own,
            model.config,
            prompt_len=prompt.num_tokens,
            context_len=model.facts.silent_len,
            assistant=drafting,
            assistant_model=body.assistant_model,
        )

    asked = Asked(body, own, [resolved(own, prompt) for prompt in prompts], prompts)
    return filled(asked, model.facts, resolved) if body.fill_context else asked


def accept(asked: Asked, model: Model) -> AcceptedRequest:
    """Everything a judged request asks for, one submission per prompt."""
    first_len, assistant_model = asked.prompt_lens[0], asked.body.assistant_model
    wants_config = asked.outputs.config
    shown = shown_config(merge_for(asked.own, first_len, assistant_model, model)) if wants_config else None
    answer_id = ID_PREFIX + uuid.uuid4().hex
    return AcceptedRequest(
        id=answer_id,
        model_name=model.info.model_id,
        config=asked.config,
        shown_config=shown,
        outputs=asked.outputs,
        submissions=make_submissions(asked, answer_id),
        warnings=warnings(asked, model.facts),
        given_names=asked.body.given_names,
        num_copies=asked.body.copies or 1,
    )


def merge_for(asked: GenerationConfig, prompt_len: int, assistant_model: str | None, model: Model) -> GenerationConfig:
    """What holds after a prompt of this length, as answers show it."""
    drafting = drafting_file(assistant_model, model)
    return merge(asked, model.config, prompt_len=prompt_len, context_len=model.facts.silent_len, assistant=drafting)


def drafting_file(assistant_model: str | None, model: Model) -> GenerationConfig | None:
    """A draft model's own file, which says how it drafts where the request does not; None where none is loaded."""
    drafting = model.info.assistants.get(assistant_model or "")
    return None if drafting is None else GenerationConfig.from_dict(drafting)


def make_submissions(asked: Asked, answer_id: str) -> list[Submission]:
    """One for each prompt. What they have in common is the same object in all, and so reaches the engine once."""
    body = asked.body
    common = Submission(
        request_id=answer_id,
        prompt_ids=[],
        config=asked.config.changed({"token_healing": False}),
        seed=select_seed(body.seed, body.prng_key),
        wanted=wanted(asked.outputs),
        constraint=constraint(body.prefix_allowed_tokens),
        logits_processor=named(body.logits_processor),
        stopping_criteria=named(body.stopping_criteria),
        is_streamed=bool(body.stream),
        **carried(body),
    )
    return [
        structs.replace(
            common,
            request_id=f"{answer_id}-{index}",
            prompt_ids=prompt.token_ids,
            seed=seed_of_copy(common.seed, prompt.copy),
            negative_prompt_ids=None if prompt.negative is None else prompt.negative.token_ids,
            num_negative_masked=0 if prompt.negative is None else prompt.negative.num_masked,
            config=common.config.changed({name: getattr(config, name) for name in LENGTHS}),
        )
        for index, (prompt, config) in enumerate(zip(asked.prompts, asked.configs, strict=True))
    ]


def healing_submission(body: GenerateRequest, prompt_ids: list[int], bias: list[tuple[list[int], float]]) -> Submission:
    """The greedy choice of one token that heals a prompt."""
    config = GenerationConfig(do_sample=False, sequence_bias=bias, max_length=len(prompt_ids) + 1)
    return Submission(f"{uuid.uuid4().hex}-heal", prompt_ids, Resolved.of(config), **carried(body))


def carried(body: GenerateRequest | ScoreRequest) -> dict[str, Any]:
    """When and beside whom what this body asks for runs, as far as that is said."""
    return {name: value for name in CARRIED if (value := getattr(body, name)) is not None}


def shown_config(config: GenerationConfig) -> GenerationConfig:
    """The configuration as answers may show it: a watermark by its name, never its keys."""
    mark = config.watermarking_config
    if mark is None or isinstance(mark, str):
        return config
    return config.model_copy(update={"watermarking_config": HIDDEN_WATERMARK})


def plain(config: GenerationConfig) -> dict[str, Any]:
    """The set fields of a configuration as plain data."""
    return config.model_dump(mode="json", exclude_none=True)


def wanted(outputs: Outputs) -> Wanted:
    asked = outputs.transition_scores
    return Wanted(
        transition_scores=bool(asked),
        normalize_logits=asked.normalize_logits if isinstance(asked, TransitionScores) else None,
        top_n_tokens=outputs.top_n_tokens or 0,
        raw=outputs.logprobs == "raw",
        prompt_logprobs=outputs.prompt_logprobs or False,
        prompt_top_n_tokens=outputs.prompt_top_n_tokens or 0,
        prompt_only=outputs.prompt_only or False,
        progress=outputs.progress or False,
        positions=outputs.positions,
        layers=outputs.layers,
    )


def named(given: list[NamedCallable] | None) -> list[Named]:
    return [Named(item.name, item.args) for item in given or ()]


def constraint(given: PrefixAllowedTokens | None) -> Constraint | None:
    if given is None:
        return None
    fields = given.model_dump(exclude_none=True)
    if given.json_schema is not None:
        fields["json_schema"] = json.dumps(given.json_schema)
    return Constraint(**fields)


def seed_of_copy(seed: int | None, copy: int) -> int | None:
    """Each copy of a prompt draws differently, and the first as if it were the only one."""
    return seed if seed is None or not copy else (seed + copy) % 2**64


def select_seed(seed: int | list[int] | None, prng_key: list[int] | None) -> int | None:
    """The one seed of a request. A single integer is taken as it is, as `torch.manual_seed` takes it.

    A pair (a, b), TensorFlow's stateless seed or JAX's key, is mixed, since a CPU generator reads only the low 32 bits
    of a seed: x = (a mod 2^32) * 2^32 + (b mod 2^32) goes through the finaliser of SplitMix64, and the upper 32 bits
    of the result are the seed. Equal pairs give equal seeds; the numbers drawn are torch's, not those of JAX.
    """
    pair = prng_key if prng_key is not None else seed
    if not isinstance(pair, list):
        return pair
    high, low = (number % 2**32 for number in pair)
    mixed = ((high << 32 | low) + 0x9E3779B97F4A7C15) & MASK
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & MASK
    return (mixed ^ mixed >> 31) >> 32
