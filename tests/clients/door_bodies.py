"""Random bodies of the doors: the protocol's own fields and extras, and every mode by the fields of `generate()`."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.fuzz.requests import MODES, PROCESSORS, Dice

Fields = dict[str, Any]

TEXTS = ["Once upon a time", "The fox", "é ü 漢字 🙂 and", "a", "One day, a bear was sad. ", "  \n"]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["fox", "bear 🙂"]}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOLS: list[Fields] = [
    {"type": "function", "function": {"name": "remember", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "forget", "parameters": {"type": "object", "properties": {}}}},
]
NAMED = {"type": "function", "function": {"name": "remember"}}
STOPS = [".", [" the", "\n"], ["a", "was"], [], "one day", ["time, there"]]


def sampling(dice: Dice, most_rows: int) -> Fields:
    """Of OpenAI's doors. most_rows: choices of one prompt."""
    fields: Fields = {"seed": dice.choice([0, 7, 2**40])}
    if dice.maybe(0.5):
        fields |= {name: value for name, value in MODES[dice.choice(list(MODES))](dice).items() if value is not None}
        if "assistant_early_exit" not in fields and "prompt_lookup_num_tokens" not in fields and dice.maybe(0.1):
            fields["assistant_model"] = "draft"
        if dice.maybe(0.3):
            inner = [name for name in fields if name not in ("seed", "assistant_model", "top_k")]
            fields["generation_config"] = {name: fields.pop(name) for name in inner}
    else:
        fields["n"] = dice.choice([None, 1, 1, 2, most_rows])
    extras: Mapping[str, Callable[[], Any]] = {
        "temperature": lambda: dice.choice([0, 0.0, 0.7, 1, 1.8, None]),
        "top_p": lambda: dice.choice([0.3, 0.9, 1, None]),
        "top_k": lambda: dice.choice([-1, 0, 3, 40]),
        "min_p": lambda: dice.choice([0.0, 0.05]),
        "stop": lambda: dice.choice(STOPS),
        "frequency_penalty": lambda: dice.choice([-1.0, 0, 0.8, 2]),
        "presence_penalty": lambda: dice.choice([-0.5, 0, 1.5]),
        "logit_bias": lambda: {str(dice.token()): dice.choice([-100, -3, 5]) for _ in range(3)},
        "repetition_penalty": lambda: dice.choice([1.0, 1.2]),
        "ignore_eos": lambda: dice.maybe(0.5),
        "min_tokens": lambda: dice.choice([0, 3, 6]),
        "stop_token_ids": lambda: dice.choice([[14, 16], [261]]),
        "include_stop_str_in_output": lambda: dice.maybe(0.5),
        "skip_special_tokens": lambda: dice.maybe(0.5),
        "return_token_ids": lambda: dice.maybe(0.5),
        "return_tokens_as_token_ids": lambda: dice.maybe(0.5),
        "outputs": lambda: dice.choice([{}, {"config": True}, {"transition_scores": True, "top_n_tokens": 2}]),
        "user": lambda: "somebody",
        "stream_options": lambda: None,
    }
    for name in dice.sample(sorted(extras), dice.choice([0, 1, 2, 4])):
        fields.setdefault(name, extras[name]())
    for name in dice.sample(sorted(PROCESSORS), dice.choice([0, 0, 1])):
        fields.setdefault(name, PROCESSORS[name](dice))
    return fields


def constraint(dice: Dice) -> Fields:
    return dice.choice(
        [
            {"guided_choice": [" yes 🙂", " no", " no way"]},
            {"guided_regex": "[a-z ]{5,20}"},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
            {"response_format": {"type": "json_object", "value": SCHEMA}},
            {"structured_outputs": {"json": SCHEMA}},
            {"allowed_token_ids": [261, 428, 14, 16, 371]},
        ]
    )


def completion(dice: Dice) -> Fields:
    ids = [dice.tokens(1, 9) for _ in range(2)]
    prompts: list[Any] = [*TEXTS, *TEXTS, TEXTS[:2], [TEXTS[2]], ids[0], ids, None]
    fields = {"prompt": dice.choice(prompts)} | sampling(dice, 4)
    fields["max_tokens"] = dice.choice([0, 1, 5, 12, 20, None]) if dice.maybe(0.7) else 30
    if dice.maybe(0.3):
        fields["echo"] = dice.maybe(0.7)
    if dice.maybe(0.4):
        fields["logprobs"] = dice.choice([0, 1, 4])
    if dice.maybe(0.1):
        fields["prompt_logprobs"] = dice.choice([0, 2])
    if dice.maybe(0.1):
        fields |= {"use_beam_search": True, "n": 2, "best_of": dice.choice([None, 3])}
    if dice.maybe(0.1):
        fields["truncate_prompt_tokens"] = dice.choice([1, 4])
    return fields | (constraint(dice) if dice.maybe(0.12) else {})


def chat(dice: Dice) -> Fields:
    said = dice.choice(TEXTS)
    content: Any = said if dice.maybe(0.7) else [{"type": "text", "text": said}, {"type": "text", "text": " and"}]
    messages: list[Fields] = [{"role": "user", "content": content}]
    if dice.maybe(0.2):
        messages = [{"role": dice.choice(["system", "developer"]), "content": "Be kind."}, *messages]
    fields = {"messages": messages} | sampling(dice, 3)
    fields[dice.choice(["max_tokens", "max_completion_tokens"])] = dice.choice([1, 6, 14, 30])
    if dice.maybe(0.4):
        fields |= {"logprobs": True, "top_logprobs": dice.choice([None, 0, 2])}
    if dice.maybe(0.35):
        fields |= {"tools": TOOLS, "tool_choice": dice.choice(["required", "required", NAMED, "auto", "none", None])}
        fields["parallel_tool_calls"] = dice.choice([None, False, True])
        fields["max_tokens"], fields["max_completion_tokens"] = dice.choice([20, 70]), None
    elif dice.maybe(0.15):
        fields |= constraint(dice)
    if dice.maybe(0.1):
        fields |= {"messages": [*messages, {"role": "assistant", "content": "It is"}], "continue_final_message": True}
        fields["add_generation_prompt"] = False
    return fields


def one_turn(dice: Dice) -> Fields:
    """What responses and messages have in common: one answer to a text."""
    fields = {name: value for name, value in sampling(dice, 1).items() if name not in CHOICES}
    inner = fields.get("generation_config")
    if inner is not None:
        fields["generation_config"] = {name: value for name, value in inner.items() if name != "num_return_sequences"}
    return fields


CHOICES = ("n", "num_return_sequences", "return_token_ids", "return_tokens_as_token_ids", "stream_options", "user")


def response(dice: Dice) -> Fields:
    fields = {"input": dice.choice(TEXTS[:5])} | one_turn(dice)
    fields["max_output_tokens"] = dice.choice([1, 6, 14, 30])
    if dice.maybe(0.4):
        fields |= {"include": ["message.output_text.logprobs"], "top_logprobs": dice.choice([None, 0, 2])}
    if dice.maybe(0.35):
        flat = [{"type": "function"} | tool["function"] for tool in TOOLS]
        named = {"type": "function", "name": "remember"}
        fields |= {"tools": flat, "tool_choice": dice.choice(["required", named]), "max_output_tokens": 70}
    elif dice.maybe(0.2):
        fields["text"] = {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}
    return fields


def message(dice: Dice) -> Fields:
    unknown = ("stop", "frequency_penalty", "presence_penalty", *OPENAI_WORDS)
    fields = {name: value for name, value in one_turn(dice).items() if name not in unknown}
    fields |= {"model": "any", "messages": [{"role": "user", "content": dice.choice(TEXTS[:5])}]}
    fields["max_tokens"] = dice.choice([1, 6, 14, 30])
    if dice.maybe(0.3):
        fields["stop_sequences"] = dice.choice([[".", " the"], ["a"]])
    if dice.maybe(0.3):
        fields["system"] = "Be kind."
    if dice.maybe(0.35):
        own = [{"name": tool["function"]["name"], "input_schema": tool["function"]["parameters"]} for tool in TOOLS]
        chosen = dice.choice([{"type": "any"}, {"type": "tool", "name": "remember"}])
        fields |= {"tools": own, "tool_choice": chosen, "max_tokens": dice.choice([20, 70])}
    return fields


OPENAI_WORDS = (
    "logit_bias",
    "ignore_eos",
    "min_tokens",
    "stop_token_ids",
    "include_stop_str_in_output",
    "skip_special_tokens",
)


def tgi(dice: Dice) -> Fields:
    parameters: Fields = {"max_new_tokens": dice.choice([1, 5, 12, 25]), "seed": dice.choice([0, 7, 2**40])}
    if dice.maybe(0.5):
        given = MODES[dice.choice(list(MODES))](dice)
        parameters |= {name: value for name, value in given.items() if name != "num_return_sequences"}
    extras: Mapping[str, Callable[[], Any]] = {
        "do_sample": lambda: dice.maybe(0.6),
        "temperature": lambda: dice.choice([0.5, 1.0, 1.6, None]),
        "top_k": lambda: dice.choice([1, 5, None]),
        "top_p": lambda: dice.choice([0.4, 0.9]),
        "typical_p": lambda: 0.8,
        "repetition_penalty": lambda: 1.2,
        "frequency_penalty": lambda: 0.5,
        "stop": lambda: [".", " the"] if dice.maybe(0.5) else [],
        "truncate": lambda: dice.choice([1, 3]),
        "return_full_text": lambda: dice.maybe(0.5),
        "watermark": lambda: dice.maybe(0.8),
        "top_n_tokens": lambda: dice.choice([0, 1, 3]),
        "grammar": lambda: dice.choice(
            [{"type": "regex", "value": "[a-z ]{3,9}"}, {"type": "json", "value": SCHEMA}, None]
        ),
        "outputs": lambda: {"config": True},
        "adapter_id": lambda: None,
    }
    for name in dice.sample(sorted(extras), dice.choice([0, 1, 2, 4])):
        parameters.setdefault(name, extras[name]())
    for name in dice.sample(sorted(PROCESSORS), dice.choice([0, 0, 1])):
        parameters.setdefault(name, PROCESSORS[name](dice))
    return {"inputs": dice.choice(TEXTS), "parameters": parameters | {"details": True}}
