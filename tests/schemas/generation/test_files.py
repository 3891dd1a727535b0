"""Files of the library, read and written; and the methods that carry its names."""

import json
import logging
import warnings
from pathlib import Path

import pytest
import transformers
from hypothesis import given, settings

from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.field_rules import InvalidGenerationConfig
from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig
from tests.schemas.generation.strategies import configs

DATA = Path(__file__).parent / "data"
GOLDEN = sorted(path.name for path in DATA.glob("*_[45].*.json"))
# Refused by the library beside others, not written by it, or announced as obsolete whenever it is met.
UNSTABLE = {"num_return_sequences", "suppress_tokens", "compile_config", "continuous_batching_config"}


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, logger="transformers")


def theirs(directory, name=None):
    return transformers.GenerationConfig.from_pretrained(directory, name, local_files_only=True)


@pytest.mark.parametrize("name", GOLDEN)
def test_files_of_both_versions_load_without_loss(name):
    content = {key: value for key, value in json.loads((DATA / name).read_text()).items() if value is not None}
    written = GenerationConfig.from_pretrained(DATA, name).to_diff_dict()
    if isinstance(content.get("sequence_bias"), dict):
        assert content.pop("sequence_bias") == {"(5, 7)": -1.5, "(3,)": 2.0}
        assert written.pop("sequence_bias") == [[[3], 2.0], [[5, 7], -1.5]]
    assert written == content


@pytest.mark.parametrize("name", GOLDEN)
def test_a_loaded_file_can_be_saved_and_read_by_the_library(name, tmp_path):
    config = GenerationConfig.from_pretrained(DATA, name)
    config.save_pretrained(tmp_path)
    again = GenerationConfig.from_pretrained(tmp_path)
    assert again == config
    assert again.transformers_version == config.transformers_version == name.rsplit("_", 1)[1].removesuffix(".json")
    if name != "chat_4.45.2.json":  # There the library cannot use the biases its own older version wrote.
        assert theirs(tmp_path) == theirs(DATA, name)


@settings(max_examples=100)
@given(values=configs(UNSTABLE))
def test_a_configuration_survives_the_library(tmp_path_factory, values):
    directory = tmp_path_factory.mktemp("round")
    config = GenerationConfig(**values)
    config.to_json_file(directory / "generation_config.json")
    read = theirs(directory)
    for name in values.keys() - {"watermarking_config"}:
        assert getattr(read, name) == json.loads(json.dumps(config.to_dict()[name])), name
    read.save_pretrained(directory)
    assert GenerationConfig.from_pretrained(directory) == config


def test_saved_text_is_the_library_s_own(tmp_path):
    values = {"num_beams": 4, "eos_token_id": [2, 3], "length_penalty": 2.0, "language": "de"}
    transformers.GenerationConfig(**values).save_pretrained(tmp_path, "theirs.json")
    written = {"transformers_version": transformers.__version__, **values}
    GenerationConfig.from_dict(written).save_pretrained(tmp_path, "ours.json")
    assert (tmp_path / "ours.json").read_text() == (tmp_path / "theirs.json").read_text()


def test_the_compiler_s_options_are_not_saved(tmp_path):
    GenerationConfig(top_k=50, compile_config={"mode": "default"}).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "generation_config.json").read_text()) == {"top_k": 50}


def test_synthid_options_survive_a_file(tmp_path):
    config = GenerationConfig(watermarking_config={"ngram_len": 5, "keys": [1, 2]})
    config.save_pretrained(tmp_path)
    again = GenerationConfig.from_pretrained(tmp_path)
    assert isinstance(again.watermarking_config, SynthIDTextWatermarkingConfig)
    assert again == config


def test_what_cannot_run_or_has_no_effect_is_not_saved(tmp_path):
    with pytest.raises(InvalidGenerationConfig, match="num_return_sequences"):
        GenerationConfig(num_return_sequences=3).save_pretrained(tmp_path)
    with pytest.raises(InvalidGenerationConfig, match="temperature has no effect"):
        GenerationConfig(temperature=0.5).save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_published_file_with_an_idle_field_can_be_saved_until_it_is_changed(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.5}')
    config = GenerationConfig.from_pretrained(tmp_path)
    config.save_pretrained(tmp_path / "copy")
    config.top_k = 3
    with pytest.raises(InvalidGenerationConfig):
        config.save_pretrained(tmp_path / "copy")


def test_a_file_is_no_directory(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(NotADirectoryError):
        GenerationConfig().save_pretrained(path)


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"], ids=["half", "list", "bytes"])
def test_what_is_no_json_object_is_an_os_error(tmp_path, text):
    (tmp_path / "generation_config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(OSError, match=r"generation_config\.json"):
        GenerationConfig.from_pretrained(tmp_path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="no file generation_config"):
        GenerationConfig.from_pretrained(tmp_path)
    with pytest.raises(OSError, match="generation_config"):
        GenerationConfig.from_pretrained("someone/nothing", cache_dir=tmp_path, local_files_only=True)
    with pytest.raises(OSError, match="repository id"):
        GenerationConfig.from_pretrained("no/such/directory")


def test_a_repository_is_read_from_the_cache(tmp_path):
    repository = tmp_path / "models--someone--tiny"
    snapshot = repository / "snapshots" / ("a" * 40)
    (snapshot / "inner").mkdir(parents=True)
    (snapshot / "inner" / "mine.json").write_text('{"top_k": 9}')
    (repository / "refs").mkdir()
    (repository / "refs" / "v2").write_text("a" * 40)
    config = GenerationConfig.from_pretrained(
        "someone/tiny", "mine.json", cache_dir=tmp_path, revision="v2", subfolder="inner", local_files_only=True
    )
    assert config.top_k == 9


def test_a_subfolder_of_a_directory(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "generation_config.json").write_text('{"top_k": 9}')
    assert GenerationConfig.from_pretrained(tmp_path, subfolder="inner").top_k == 9


def test_overrides_replace_and_unused_ones_come_back():
    config, unused = GenerationConfig.from_pretrained(
        DATA,
        "speech_4.45.2.json",
        top_k=1,
        foo=False,
        do_sample=True,
        return_timestamps=True,
        return_unused_kwargs=True,
    )
    assert unused == {"foo": False}
    assert (config.top_k, config.do_sample, config.extras["return_timestamps"]) == (1, True, True)
    assert GenerationConfig.from_pretrained(DATA, "chat_5.23.0.json", foo=1).extras == {}


def test_values_out_of_range_are_named_all_at_once():
    with pytest.raises(InvalidGenerationConfig) as caught:
        GenerationConfig.from_dict({"top_p": 1.5, "eos_token_id": -1, "temperature": 0, "early_stopping": "maybe"})
    messages = {problem.field: problem.message for problem in caught.value.problems}
    assert messages["top_p"] == "top_p is 1.5; allowed: 0 <= top_p <= 1"
    assert messages["temperature"].startswith("temperature is 0; allowed: 1e-06 <= temperature")
    assert messages.keys() == {"top_p", "eos_token_id", "temperature", "early_stopping"}
    assert {problem.code for problem in caught.value.problems} == {"out_of_range"}


def test_long_values_are_not_shown():
    with pytest.raises(InvalidGenerationConfig) as caught:
        GenerationConfig.from_dict({"top_k": "x" * 10_000, "suppress_tokens": [-1] * 10_000, "eos_token_id": {}})
    assert len(str(caught.value)) < 1000


def test_arguments_of_generate_are_refused():
    with pytest.raises(ValueError, match="streamer"):
        GenerationConfig.from_dict({"streamer": None})


def test_a_model_s_file_is_used_without_what_is_wrong_with_it():
    content = {"pad_token_id": -1, "temperature": 0.0, "eos_token_id": [7, 99], "bos_token_id": 100, "top_k": 5}
    config, problems = GenerationConfig.salvage({**content, "language": "de"}, vocab_size=50)
    assert config.set_fields() == {"eos_token_id": [7], "top_k": 5}
    assert config.extras == {"language": "de"}
    assert {problem.field for problem in problems} == {"pad_token_id", "temperature", "eos_token_id", "bos_token_id"}
    assert GenerationConfig.salvage({"top_k": 5}) == (GenerationConfig(top_k=5), [])


def test_a_model_s_file_cannot_set_what_the_library_does_not_know():
    config, problems = GenerationConfig.salvage({"frequency_penalty": 0.5, "presence_penalty": 9, "top_k": 5})
    assert config.set_fields() == {"top_k": 5}
    assert {problem.field for problem in problems} == {"frequency_penalty", "presence_penalty"}


def test_a_model_s_configuration_gives_its_fields():
    model_config = transformers.LlamaConfig(eos_token_id=2, use_cache=False)
    ours = GenerationConfig.from_dict(GenerationConfig.part_of(model_config.to_dict()))
    assert ours == GenerationConfig.from_dict(
        transformers.GenerationConfig.from_model_config(model_config).to_dict() | {"transformers_version": None}
    )
    assert ours.to_diff_dict()["_from_model_config"] is True
    assert ours.extras == {}


def test_a_model_s_text_part_fills_the_gaps():
    plain = {
        "eos_token_id": 2,
        "vocab_size": 9,
        "text_config": {"eos_token_id": 5, "pad_token_id": 6},
        "output_scores": True,
    }
    config = GenerationConfig.from_dict(GenerationConfig.part_of(plain))
    assert config.set_fields() == {
        "eos_token_id": 2,
        "pad_token_id": 6,
        "output_scores": True,
        "return_dict_in_generate": True,
    }
    assert plain.keys() == {"eos_token_id", "vocab_size", "text_config", "output_scores"}


def test_a_library_object_becomes_ours():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = transformers.GenerationConfig(
            watermarking_config=transformers.WatermarkingConfig(bias=1.5),
            compile_config=transformers.generation.CompileConfig(mode="default"),
            do_sample=True,
        )
    config = GenerationConfig.from_dict(library.to_dict())
    assert (config.watermarking_config.bias, config.compile_config.mode) == (1.5, "default")


def test_update_sets_what_there_is_and_returns_the_rest():
    config = GenerationConfig.from_dict({"top_k": 3, "language": "de"})
    assert config.update(top_k=5, foo=1, language="en") == {"foo": 1}
    assert (config.top_k, config.extras) == (5, {"language": "en"})
    assert config.update(defaults_only=True, top_k=9, top_p=0.5) == {"top_k": 9}
    assert (config.top_k, config.top_p) == (5, 0.5)
    assert config.update(allow_custom_entries=True, foo=1) == {}
    assert config.extras == {"language": "en", "foo": 1}
    assert config.update(top_k=None) == {}
    assert config.top_k is None


@pytest.mark.parametrize("wrong", [{"top_p": 1.5}, {"num_return_sequences": 4}], ids=["range", "together"])
def test_an_update_that_fails_changes_nothing(wrong):
    config = GenerationConfig(top_k=3)
    with pytest.raises(InvalidGenerationConfig):
        config.update(top_k=7, **wrong)
    assert config.set_fields() == {"top_k": 3}


def test_whole_and_short_forms():
    config = GenerationConfig.from_dict({"top_k": 3, "transformers_version": "4.45.2"})
    assert config.to_diff_dict() == {"top_k": 3, "transformers_version": "4.45.2"}
    assert config.to_dict().keys() == GenerationConfig.model_fields.keys() | {
        "transformers_version",
        "_from_model_config",
    }
    assert json.loads(config.to_json_string(ignore_metadata=True)) == {"top_k": 3}
    assert json.loads(config.to_json_string(use_diff=False)) == config.to_dict()


def test_equality_is_of_values_not_of_origins():
    assert GenerationConfig.from_dict({"top_k": 3, "transformers_version": "4.45.2"}) == GenerationConfig(top_k=3)
    assert GenerationConfig.from_dict({"top_k": 3, "language": "de"}) != GenerationConfig(top_k=3)
    assert GenerationConfig(top_k=3) != "top_k"
