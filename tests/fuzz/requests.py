"""Random requests: prompts and fields that go together in their mode, over the vocabulary of one tiny model."""

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from random import Random
from typing import Any

from beamhouse.engine.link.messages import Constraint, Submission
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.field_rules import find_problems
from tests.parity.models import reference
from tests.parity.running import submission

FIRST, LAST = 3, 150
"""Token ids that are drawn: below stand the models' special ones, above is little of the built-in model's text."""

DRAFT = "draft"
"""The name under which an engine holds the draft model."""


class Dice(Random):
    """What a request is drawn with. Seeded with a string, it gives the same everywhere."""

    def maybe(self, share: float) -> bool:
        return self.random() < share

    def token(self) -> int:
        return self.randrange(FIRST, LAST)

    def tokens(self, least: int, most: int) -> list[int]:
        return [self.token() for _ in range(self.randint(least, most))]

    def phrases(self) -> list[list[int]]:
        return [self.tokens(1, 3) for _ in range(self.randint(1, 3))]


Draw = Callable[[Dice], Any]
Fields = dict[str, Any]


def one_of(*values: Any) -> Draw:
    return lambda dice: dice.choice(values)


def _beams(dice: Dice) -> Fields:
    num_beams = dice.choice([2, 3, 4, 6])
    return {
        "num_beams": num_beams,
        "num_return_sequences": dice.randint(1, num_beams),
        "early_stopping": dice.choice([True, False, "never"]),
        "length_penalty": dice.choice([-1.0, 0.0, 0.5, 1.0, 2.0]),
    }


def _sample(dice: Dice) -> Fields:
    return {"do_sample": True, "num_return_sequences": dice.choice([1, 1, 2, 3, 5])}


def _groups(dice: Dice) -> Fields:
    groups = {"num_beams": 4, "num_beam_groups": dice.choice([2, 4]), "diversity_penalty": dice.choice([0.5, 1.5])}
    return groups | {"num_return_sequences": dice.randint(1, 4)}


def _constrained(dice: Dice) -> Fields:
    words = [dice.choice([dice.tokens(1, 3), [[token] for token in {*dice.tokens(2, 3)}]]) for _ in range(2)]
    return {"num_beams": dice.choice([2, 3, 4]), "force_words_ids": words[: dice.randint(1, 2)]}


def _dola(dice: Dice) -> Fields:
    return {"dola_layers": dice.choice(["low", "high", [1], [0, 1]]), "do_sample": dice.maybe(0.4)}


def _lookup(dice: Dice) -> Fields:
    return {
        "prompt_lookup_num_tokens": dice.choice([1, 3, 8, 20]),
        "max_matching_ngram_size": dice.choice([1, 2, 3]),
        "do_sample": dice.maybe(0.4),
    }


def _drafted(dice: Dice) -> Fields:
    weight = {"assistant_ensemble_weight": dice.choice([0.3, 0.8])} if dice.maybe(0.2) else {}
    return _own_layers(dice) | weight | {"assistant_early_exit": None}


def _own_layers(dice: Dice) -> Fields:
    return {
        "assistant_early_exit": 1,
        "num_assistant_tokens": dice.choice([1, 3, 6, 20]),
        "assistant_confidence_threshold": dice.choice([0.0, 0.3]),
        "num_assistant_tokens_schedule": dice.choice(["constant", "heuristic"]),
        "do_sample": dice.maybe(0.4),
    }


MODES: Mapping[str, Draw] = {
    "greedy": one_of({}),
    "sample": _sample,
    "beams": _beams,
    "drawn beams": lambda dice: _beams(dice) | {"do_sample": True},
    "groups": _groups,
    "constrained": _constrained,
    "contrastive": lambda dice: {"penalty_alpha": dice.choice([0.3, 0.6]), "top_k": dice.choice([2, 4, 6])},
    "dola": _dola,
    "lookup": _lookup,
    "drafted": _drafted,
    "own layers": _own_layers,
}
"""The fields that ask for each mode."""

_GREEN = {"seeding_scheme": "lefthash", "greenlist_ratio": 0.4, "bias": 3.0}

PROCESSORS: Mapping[str, Draw] = {
    "repetition_penalty": one_of(1.2, 0.8),
    "encoder_repetition_penalty": one_of(1.4, 0.7),
    "frequency_penalty": one_of(0.3, 2.0, -0.5),
    "presence_penalty": one_of(0.6, 2.0, -0.7),
    "no_repeat_ngram_size": one_of(1, 2, 3),
    "encoder_no_repeat_ngram_size": one_of(1, 3),
    "bad_words_ids": lambda dice: dice.phrases(),
    "sequence_bias": lambda dice: [[ids, dice.choice([3.0, 5.0, -20.0])] for ids in dice.phrases()],
    "min_length": one_of(1, 15, 30),
    "min_new_tokens": one_of(1, 5),
    "forced_bos_token_id": lambda dice: dice.token(),
    "forced_eos_token_id": one_of(2, [4, 2]),
    "exponential_decay_length_penalty": one_of([3, 1.1], [0, 1.5]),
    "suppress_tokens": lambda dice: dice.sample(range(FIRST, LAST), 30),
    "begin_suppress_tokens": lambda dice: dice.sample(range(FIRST, LAST), 60),
    "remove_invalid_values": one_of(True),
    "renormalize_logits": one_of(True),
    "guidance_scale": one_of(1.4, 2.2, 0.5),
    "watermarking_config": one_of(
        _GREEN,
        _GREEN | {"seeding_scheme": "selfhash", "context_width": 2},
        {"ngram_len": 4, "keys": [11, 23, 47]},
    ),
}
"""Fields that change the scores in every mode."""

WARPERS: Mapping[str, Draw] = {
    "temperature": one_of(0.3, 0.7, 1.6),
    "top_k": one_of(0, 1, 5, 50),
    "top_p": one_of(0.0, 0.6, 0.95),
    "min_p": one_of(0.05, 0.5),
    "typical_p": one_of(0.2, 0.7),
    "top_h": one_of(0.3, 0.6),
    "epsilon_cutoff": one_of(0.01, 0.2),
    "eta_cutoff": one_of(0.02),
}
"""Fields that shape what is drawn from."""

ENDS: Mapping[str, Draw] = {
    "eos_token_id": lambda dice: [] if dice.maybe(0.25) else [2, *dice.tokens(0, 6)],
    "stop_strings": one_of([" the"], ["he", "and"], ["."], ["a", " w"]),
}
"""Fields that end a sequence, beside its length. Stop strings need a model with a tokenizer."""


def _allowed_ids(dice: Dice) -> Constraint:
    return Constraint(token_ids=[2, *sorted(dice.sample(range(FIRST, LAST), 40))])


def _allowed_sequences(dice: Dice) -> Constraint:
    return Constraint(sequences=[dice.tokens(1, 6) for _ in range(dice.randint(2, 8))])


CONSTRAINTS: Seq[Draw] = (_allowed_ids, _allowed_sequences)
TEXT_CONSTRAINTS: Seq[Draw] = (
    lambda dice: Constraint(regex=dice.choice(["[a-z ]+", " (yes|no way)", "[0-9]{3,9}", "(ab|cd)*e"])),
    lambda dice: Constraint(
        json_schema={"type": "array", "items": {"enum": [1, "a", dice.randint(2, 9)]}, "minItems": 1, "maxItems": 4}
    ),
    lambda dice: Constraint(grammar='start: ("once" | "then") (" upon" | " and")* "."'),
)
"""`prefix_allowed_tokens`; of those in text, which need a model with a tokenizer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One random request. mode: its name in MODES. outside: what a `Submission` holds beside its configuration."""

    mode: str
    prompt_ids: list[int]
    fields: Fields
    outside: dict[str, Any]

    def submission(self, family: str, **more: Any) -> Submission:
        """As the server would make it, with a new name. more: of a `Submission`, too."""
        return submission(family, self.prompt_ids, self.fields, **self.outside | more)


class Requests:
    """Draws requests for one model. Their prompts begin alike now and then, within blocks and at the ends of some.

    modes: names in MODES. max_new: most tokens of an answer.
    """

    def __init__(self, dice: Dice, family: str, modes: Seq[str] = tuple(MODES), max_new: int = 24) -> None:
        self._dice, self._modes, self._max_new = dice, modes, max_new
        self._has_text = family == "builtin"
        assert reference(family).config.vocab_size >= LAST
        self._beginnings = [dice.tokens(1, 60) for _ in range(3)] + [dice.tokens(4, 8) * 6]

    def draw(self) -> Asked:
        """A request whose fields may stand together."""
        while True:
            asked = self._draw()
            if not find_problems(GenerationConfig.from_dict(asked.fields), asked.outside.get("assistant_model"), ""):
                return asked

    def _draw(self) -> Asked:
        dice, mode = self._dice, self._dice.choice(self._modes)
        fields = {"max_new_tokens": dice.randint(1, self._max_new)} | MODES[mode](dice)
        known = PROCESSORS | (WARPERS if fields.get("do_sample") else {})
        for name in dice.sample(sorted(known), dice.choice([0, 0, 1, 2, 3])):
            fields[name] = known[name](dice)
        for name, draw in ENDS.items():
            if dice.maybe(0.2) and (self._has_text or name != "stop_strings"):
                fields[name] = draw(dice)
        fields = {name: value for name, value in fields.items() if value is not None}
        return Asked(mode, self._prompt(mode), fields, self._outside(mode, fields))

    def _prompt(self, mode: str) -> list[int]:
        """Lookup finds something in prompts that repeat themselves."""
        dice = self._dice
        prompt_ids = list(
            self._beginnings[-1] if mode == "lookup" and dice.maybe(0.7) else dice.choice(self._beginnings)
        )
        if dice.maybe(0.5):
            del prompt_ids[dice.choice([1, 15, 16, 17, 32, dice.randint(1, 60)]) :]
        return prompt_ids + (dice.tokens(1, 20) if dice.maybe(0.4) else [])

    def _outside(self, mode: str, fields: Fields) -> dict[str, Any]:
        dice = self._dice
        outside: dict[str, Any] = {"seed": dice.choice([0, 1, 2**32 + 5, 2**63, -1, dice.randrange(2**31)])}
        if mode == "drafted":
            outside["assistant_model"] = DRAFT
        if "guidance_scale" in fields and dice.maybe(0.6):
            outside["negative_prompt_ids"] = dice.tokens(1, 40)
            outside["num_negative_masked"] = dice.choice([0, 0, 3])
        if dice.maybe(0.15):
            outside["constraint"] = dice.choice([*CONSTRAINTS, *(TEXT_CONSTRAINTS if self._has_text else ())])(dice)
        return outside
