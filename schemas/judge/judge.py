"""The one judge: everything that is wrong with a request, before anything is computed.

What only the engine can know is no part of it: room in the cache, whether a grammar compiles, the arguments of a
registered class.
"""

from collections.abc import Callable, Iterator

from beamhouse.schemas.generation.field_rules import find_problems
from beamhouse.schemas.generation.model_rules import PREFIX, check_model, length_problems
from beamhouse.schemas.judge import limit_rules, mode_rules, name_rules
from beamhouse.schemas.judge.asked import Asked, Facts
from beamhouse.schemas.judge.budget import find_expenses
from beamhouse.schemas.problems import Problem

Rule = Callable[[Asked, Facts], Iterator[Problem]]


def problems(asked: Asked, facts: Facts) -> list[Problem]:
    """In the order of `RULES`, each once. What a request costs is asked only of one that could be obeyed."""
    found = [problem for rule in RULES for problem in rule(asked, facts)]
    return list(dict.fromkeys(found or find_expenses(asked, facts)))


def fields_among_themselves(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """Fields that do not go together."""
    yield from find_problems(asked.config, asked.config.assistant_model, PREFIX)


def the_model(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """What the model cannot do. Nothing but lengths differs with the prompt, and only they are looked at each time."""
    info, (first, *others) = facts.info, asked.prompts
    # The token that there is room for where nothing is generated needs no place.
    room = facts.most_tokens + (not asked.generates)
    yield from check_model(
        asked.config,
        vocab_size=info.vocab_size,
        context_len=room,
        prompt_len=first.num_tokens,
        prompt_field=first.field,
        num_layers=info.num_layers,
    )
    for config, prompt in zip(asked.configs[1:], others, strict=True):
        yield from length_problems(config, room, prompt.num_tokens, prompt.field)


RULES: tuple[Rule, ...] = (
    mode_rules.not_obeyed,
    mode_rules.the_mode,
    mode_rules.rows_of_a_step,
    mode_rules.negative_prompts,
    limit_rules.numbers,
    limit_rules.prompts,
    mode_rules.lengths,
    name_rules.draft_model,
    name_rules.prompt_ids,
    name_rules.constraint,
    name_rules.registered_classes,
    mode_rules.outputs,
    mode_rules.progress,
    mode_rules.prompts_alone,
    name_rules.watermark,
    name_rules.tokenizer,
    fields_among_themselves,
    the_model,
)
