"""The variables of TGI's launcher: which settings they become, and which are refused or have no effect."""

import pytest

from beamhouse.config import tgi_variables
from beamhouse.config.settings import KEYS, GreenList, Settings, load, sources
from beamhouse.config.sources import InvalidSettings

VARIABLES = (*tgi_variables.SAME, *tgi_variables.READ, *tgi_variables.REFUSED, *tgi_variables.WITHOUT_EFFECT)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch):
    for name in (*(f"BEAMHOUSE_{key.upper()}" for key in (*KEYS, "config")), *VARIABLES):
        monkeypatch.delenv(name, raising=False)
    for name in ("WATERMARK_GAMMA", "WATERMARK_DELTA"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variable", "value", "key", "expected"),
    [
        ("MODEL_ID", "some/model", "model", "some/model"),
        ("REVISION", "v2", "revision", "v2"),
        ("DTYPE", "bfloat16", "dtype", "bfloat16"),
        ("PORT", "80", "port", 80),
        ("HOSTNAME", "0.0.0.0", "host", "0.0.0.0"),
        ("HOSTNAME", "5f1c0ffee", "host", "127.0.0.1"),
        ("QUANTIZE", "eetq", "quantize", "int8"),
        ("JSON_OUTPUT", "true", "log_format", "json"),
        ("JSON_OUTPUT", "false", "log_format", "auto"),
        ("MAX_CONCURRENT_REQUESTS", "7", "max_requests", 7),
        ("MAX_CLIENT_BATCH_SIZE", "4", "max_prompts", 4),
        ("MAX_BEST_OF", "2", "max_sequences", 2),
        ("MAX_STOP_SEQUENCES", "4", "max_stop_strings", 4),
        ("MAX_TOP_N_TOKENS", "5", "max_top_tokens", 5),
        ("MAX_INPUT_TOKENS", "100", "max_prompt_tokens", 100),
        ("MAX_INPUT_LENGTH", "100", "max_prompt_tokens", 100),
        ("MAX_TOTAL_TOKENS", "200", "max_total_tokens", 200),
        ("WATERMARK_GAMMA", "0.25", "tgi_watermark", GreenList(greenlist_ratio=0.25, bias=2.0)),
        ("WATERMARK_DELTA", "3", "tgi_watermark", GreenList(greenlist_ratio=0.5, bias=3.0)),
    ],
)
def test_a_variable_of_the_launcher_becomes_a_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, key: str, expected: object
):
    monkeypatch.setenv(variable, value)
    assert sources(load({"tgi_compat": True}))[key][0] == expected
    assert sources(Settings())[key] == sources(load({}))[key]
    assert sources(Settings())[key][1] == "default"


def test_a_variable_of_ours_and_the_command_line_win(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BEAMHOUSE_TGI_COMPAT", "true")
    monkeypatch.setenv("PORT", "80")
    assert sources(load({}))["port"] == (80, "PORT")
    monkeypatch.setenv("BEAMHOUSE_PORT", "81")
    assert sources(load({}))["port"] == (81, "BEAMHOUSE_PORT")
    assert sources(load({"port": 82}))["port"] == (82, "command line")


@pytest.mark.parametrize("name", tgi_variables.REFUSED)
def test_what_would_change_answers_or_who_gets_them_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "true")
    assert Settings().server.tgi_compat is False
    with pytest.raises(InvalidSettings, match=name):
        load({"tgi_compat": True})


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"QUANTIZE": "gptq"}, "QUANTIZE is gptq"),
        ({"MAX_INPUT_TOKENS": "5", "MAX_INPUT_LENGTH": "6"}, "MAX_INPUT_TOKENS"),
        ({"WATERMARK_GAMMA": "half"}, "WATERMARK_GAMMA"),
        ({"PORT": "99999"}, r"port is '99999' \(PORT\)"),
        ({"BEAMHOUSE_TGI_COMPAT": "perhaps"}, "tgi_compat"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
):
    for name, value in ({"BEAMHOUSE_TGI_COMPAT": "1"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings, match=named):
        load({})


def test_what_has_no_effect_is_listed_for_the_log(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NUM_SHARD", "2")
    monkeypatch.setenv("CUDA_GRAPHS", "0")
    assert load({"tgi_compat": True}).without_effect == ["CUDA_GRAPHS", "NUM_SHARD"]
    assert load({}).without_effect == []
