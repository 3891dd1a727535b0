"""When sequences end, and which reason is named."""

import random
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast
from transformers.generation.stopping_criteria import MaxLengthCriteria, StopStringCriteria

from beamhouse.engine.decoding.stopping import FIELDS, Stopping, StopStrings
from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.link.messages import FinishReason, Named
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.state.request import Request
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.words import FinishType
from tests.engine.logits.scoring import byte_tokenizer, bytes_of, make_request, make_row

TOKENIZER = byte_tokenizer()
BYTES = bytes_of(TOKENIZER)
LIBRARY_TOKENIZER = PreTrainedTokenizerFast(tokenizer_object=TOKENIZER)


class Contains:
    def __init__(self, token: int) -> None:
        self.token = token

    def __call__(self, input_ids: torch.Tensor, scores: None) -> torch.Tensor:
        return (input_ids == self.token).any(-1)


class Raise:
    def __call__(self, input_ids: torch.Tensor, scores: None) -> bool:
        raise RuntimeError("broken")


def prepared(request: Request, started_at: float = 0.0) -> tuple[Stopping, Request]:
    stopping = Stopping(Registry({}, {"contains": Contains, "raise": Raise, "long": MaxLengthCriteria}, BYTES))
    stopping.prepare(request)
    request.started_at = started_at
    return stopping, request


def check(request: Request, new: list[int], now: float = 0.0, before: list[int] | None = None):
    stopping, request = prepared(request)
    row = make_row(request, before or [])
    return stopping.check(request, row.sequence.token_ids, new, now)


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text).ids


def bytes_as_ids(text: str) -> list[int]:
    """One token per byte."""
    single = {one: token for token, one in enumerate(BYTES) if len(one) == 1}
    return [single[bytes([byte])] for byte in text.encode()]


def test_the_fields_are_fields_of_the_configuration() -> None:
    assert set(GenerationConfig.model_fields) > FIELDS


def test_a_sequence_goes_on_while_no_criterion_holds() -> None:
    assert check(make_request([1], (5,), max_length=9, max_time=2.0, stop_strings="stop"), [3], now=2.0) is None


def test_any_end_token_ends_and_is_named() -> None:
    for token in (5, 6):
        assert check(make_request([1], (5, 6)), [token]) == (1, FinishReason(FinishType.EOS_TOKEN, token_id=token))


def test_an_end_token_in_the_prompt_does_not_end() -> None:
    assert check(make_request([5], (5,)), [3]) is None


def test_the_length_counts_the_prompt() -> None:
    assert check(make_request([1, 2], max_length=4), [3]) is None
    assert check(make_request([1, 2], max_length=4), [3, 3]) == (2, FinishReason(FinishType.LENGTH))


def test_time_ends_behind_all_tokens_of_the_step() -> None:
    assert check(make_request([1], max_time=1.0), [3, 4], now=1.5) == (2, FinishReason(FinishType.TIME))
    assert check(make_request([1], max_time=0.0), [3], now=0.1) == (1, FinishReason(FinishType.TIME))


def test_of_several_tokens_those_behind_the_end_are_dropped() -> None:
    assert check(make_request([1], (5,), max_length=9), [3, 5, 4]) == (
        2,
        FinishReason(FinishType.EOS_TOKEN, token_id=5),
    )
    assert check(make_request([1], (5,), max_length=2), [3, 5, 4]) == (1, FinishReason(FinishType.LENGTH))
    stop = [*bytes_as_ids("ab"), *bytes_as_ids("cd")]
    assert check(make_request([1], stop_strings="bc"), stop) == (
        3,
        FinishReason(FinishType.STOP_STRING, stop_string="bc"),
    )


def test_of_several_reasons_the_first_in_order_is_named() -> None:
    x, named = bytes_as_ids("x")[0], [Named("contains", {"token": bytes_as_ids("x")[0]})]
    fields = {"stop_strings": "x", "max_length": 2, "max_time": 1.0}
    assert check(make_request([1], (x,), criteria=named, **fields), [x], now=9)[1].type == "eos_token"
    assert check(make_request([1], criteria=named, **fields), [x], now=9)[1].type == "stop_string"
    fields.pop("stop_strings")
    assert check(make_request([1], criteria=named, **fields), [x], now=9)[1].type == "stopping_criterion"
    assert check(make_request([1], **fields), [x], now=9)[1].type == "length"


def test_registered_criteria_end_by_name() -> None:
    named = [Named("contains", {"token": 7}), Named("long", {"max_length": 3})]
    assert check(make_request([1], criteria=named), [7]) == (
        1,
        FinishReason(FinishType.STOPPING_CRITERION, name="contains"),
    )
    assert check(make_request([1], criteria=named), [2, 3]) == (
        2,
        FinishReason(FinishType.STOPPING_CRITERION, name="long"),
    )


def test_a_criterion_that_raises_ends_its_sequence_with_an_error() -> None:
    assert check(make_request([1], criteria=[Named("raise")]), [7]) == (1, FinishReason(FinishType.ERROR, name="raise"))


@pytest.mark.parametrize("named", [Named("contains"), Named("long", {"length": 3})])
def test_criteria_that_cannot_be_obeyed_are_refused_by_name(named: Named) -> None:
    with pytest.raises(InvalidRequest) as caught:
        prepared(make_request([1], criteria=[named]))
    assert caught.value.problems[0].field == "stopping_criteria"


def test_a_stop_string_may_begin_in_the_prompt_and_end_inside_a_token() -> None:
    token = ids(" stopper")[0]
    assert len(BYTES[token]) > 2
    text = "x" + BYTES[token][:2].decode()
    request = make_request(bytes_as_ids("x"), stop_strings=[text])
    assert check(request, [token]) == (1, FinishReason(FinishType.STOP_STRING, stop_string=text))


def test_the_first_of_several_completed_strings_is_named() -> None:
    request = make_request([1], stop_strings=["c", "bc", "abc"])
    assert check(request, bytes_as_ids("abc"))[1].stop_string == "c"
    request = make_request([1], stop_strings=["abc", "c"])
    assert check(request, bytes_as_ids("abc"))[1].stop_string == "abc"


def test_a_token_the_tokenizer_does_not_know_breaks_a_stop_string() -> None:
    a, b = bytes_as_ids("ab")
    matcher = StopStrings.build(["ab"], BYTES)
    assert matcher.completed_by_last([a, b]) == "ab"
    assert matcher.completed_by_last([a, len(BYTES) + 3, b]) is None
    assert matcher.completed_by_last([a, b, len(BYTES) + 3]) is None


@settings(max_examples=150)
@given(
    st.lists(st.text("ab\u00e9\u20ac", min_size=1, max_size=6), min_size=1, max_size=5),
    st.lists(st.binary(max_size=5), min_size=1, max_size=12),
)
def test_the_matcher_finds_what_a_search_through_the_text_finds(texts: list[str], tokens: list[bytes]) -> None:
    alphabet = "ab\u00e9\u20ac".encode()
    table = [bytes(alphabet[byte % len(alphabet)] for byte in token) for token in tokens if token] or [b"a"]
    matcher = StopStrings.build(texts, table)
    sequence = list(range(len(table)))
    text, begin = b"".join(table), len(b"".join(table[:-1]))
    expected = next(
        (one for one in dict.fromkeys(texts) if text.find(one.encode(), max(0, begin + 1 - len(one.encode()))) >= 0),
        None,
    )
    assert matcher.completed_by_last(sequence) == expected


@pytest.mark.parametrize("seed", range(6))
def test_the_matcher_stops_where_the_library_stops(seed: int) -> None:
    rng = random.Random(seed)
    pieces = ["stop", "end", "\u20ac", "\u00e9", ' is {"', "per:", "12", "s", " ", "t"]
    stops = ["".join(rng.choices(pieces, k=rng.randint(1, 2))) for _ in range(3)]
    library = StopStringCriteria(LIBRARY_TOKENIZER, stops)
    matcher = StopStrings.build(stops, BYTES)
    num_stopped = 0
    for _ in range(60):
        text = "".join(rng.choices(pieces, k=6))
        sequence = bytes_as_ids(text) if rng.random() < 0.3 else ids(text)
        sequence = sequence[: rng.randint(1, len(sequence))]
        if rng.random() < 0.3:
            sequence[rng.randrange(len(sequence))] = rng.randrange(1, len(BYTES))
        is_done = bool(library(torch.tensor([sequence]), None))
        assert (matcher.completed_by_last(sequence) is not None) == is_done
        num_stopped += is_done
    assert 0 < num_stopped < 60


def test_a_thousand_long_stop_strings_are_cheap_to_build_and_to_test() -> None:
    texts = [f"{number:04d}" + "x" * 996 for number in range(1000)]
    start = time.thread_time()
    matcher = StopStrings.build(texts, BYTES)
    assert time.thread_time() - start < 0.5
    x = bytes_as_ids("x")[0]
    sequence = [x] * 3000  # every string agrees with the end of every token, none with the whole
    start = time.thread_time()
    for _ in range(20):
        assert matcher.completed_by_last(sequence) is None
    assert time.thread_time() - start < 1.0
