"""Settings: which source wins, what is refused, and that every key is typed, explained and used."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from beamhouse.config.settings import KEYS, PARTS, Settings, load, sources
from beamhouse.config.sources import InvalidSettings, default_text, read_defaults, read_meanings

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch):
    for key in (*KEYS, "config"):
        monkeypatch.delenv(f"BEAMHOUSE_{key.upper()}", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text("[server]\nport = 1111\nping_s = 2.5\nmax_prompts = 5\n", encoding="utf-8")
    return path


def test_the_defaults_are_valid_and_complete():
    settings = Settings()
    assert settings.server.port == 8000
    assert settings.model.model == "builtin"
    assert settings.model.revision is None
    assert set(read_defaults()) == set(KEYS)


def test_command_line_beats_environment_beats_file_beats_default(monkeypatch: pytest.MonkeyPatch, file: Path):
    monkeypatch.setenv("BEAMHOUSE_PORT", "2222")
    monkeypatch.setenv("BEAMHOUSE_PING_S", "3.5")
    settings = load({"port": "3333"}, file)
    found = sources(settings)
    assert found["port"] == (3333, "command line")
    assert found["ping_s"] == (3.5, "BEAMHOUSE_PING_S")
    assert found["max_prompts"] == (5, str(file))
    assert found["host"] == ("127.0.0.1", "default")


def test_the_environment_names_the_file(monkeypatch: pytest.MonkeyPatch, file: Path):
    monkeypatch.setenv("BEAMHOUSE_CONFIG", str(file))
    assert Settings().server.port == 1111
    assert Settings().config_file == file


def test_a_part_may_be_passed_in_part():
    settings = Settings(server={"port": 0}, engine={"max_rows": 3})
    assert (settings.server.port, settings.engine.max_rows) == (0, 3)
    assert settings.server.host == "127.0.0.1"


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().server.port = 1


def test_settings_survive_the_way_to_the_engine_process():
    settings = Settings(model={"tries": {"cities": "cities.json"}, "logits_processors": ["words:Polite"]})
    part = PARTS["model"].model_validate_json(settings.model.model_dump_json())
    assert part == settings.model


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("cities=a.json, names=b.json", {"cities": Path("a.json"), "names": Path("b.json")}),
        ('{"cities": "a.json"}', {"cities": Path("a.json")}),
    ],
)
def test_a_table_can_be_written_in_one_line(monkeypatch: pytest.MonkeyPatch, value: str, expected: dict[str, Path]):
    monkeypatch.setenv("BEAMHOUSE_TRIES", value)
    assert Settings().model.tries == expected


@pytest.mark.parametrize("given", [["a=a.json", "b=b.json"], ["a=a.json,b=b.json"], ['{"a": "a.json"}', "b=b.json"]])
def test_a_table_can_be_given_pair_by_pair(given: list[str]):
    assert load({"watermarks": given}).model.watermarks == {"a": Path("a.json"), "b": Path("b.json")}


def test_a_table_replaces_the_one_below_it(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text('[model]\ntries = {cities = "a.json"}\n', encoding="utf-8")
    assert load({}, file).model.tries == {"cities": Path("a.json")}
    assert load({"tries": {"names": "b.json"}}, file).model.tries == {"names": Path("b.json")}


def test_watermarks_are_files_by_name():
    model = load({"watermarks": "house=house.json", "default_watermark": "house", "require_watermark": "true"}).model
    assert model.watermarks == {"house": Path("house.json")}
    assert (model.default_watermark, model.require_watermark) == ("house", True)
    assert Settings().model.default_watermark is None


@pytest.mark.parametrize("value", ["one:One,two.three:Three", '["one:One", "two.three:Three"]'])
def test_a_list_can_be_written_in_one_line(value: str):
    assert load({"logits_processors": value}).model.logits_processors == ("one:One", "two.three:Three")


def test_an_empty_variable_does_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BEAMHOUSE_PORT", "")
    assert sources(Settings())["port"] == (8000, "default")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"port": "99999"}, "port is '99999' (command line): input should be less than or equal to 65535"),
        ({"dtype": "int8"}, "dtype is 'int8' (command line)"),
        ({"device": "tpu"}, "device is 'tpu' (command line)"),
        ({"ping_s": "nan"}, "ping_s is 'nan' (command line)"),
        ({"tries": "cities"}, "tries is"),
        ({"logits_processors": "no colon"}, "logits_processors is"),
        ({"model": ""}, "model is ''"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(options: dict[str, str], told: str):
    with pytest.raises(InvalidSettings) as caught:
        load(options)
    assert told in str(caught.value)


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch, file: Path):
    monkeypatch.setenv("BEAMHOUSE_CACHE_GIB", "none")
    with pytest.raises(InvalidSettings) as caught:
        load({"port": "-1"}, file)
    assert str(caught.value).splitlines() == [
        "cache_gib is 'none' (BEAMHOUSE_CACHE_GIB): input should be a valid number, unable to parse string as a number",
        "port is '-1' (command line): input should be greater than or equal to 0",
    ]


def test_an_unknown_variable_is_refused_with_a_guess(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BEAMHOUSE_MAX_ROW", "3")
    with pytest.raises(InvalidSettings, match="BEAMHOUSE_MAX_ROW is not a setting; did you mean BEAMHOUSE_MAX_ROWS"):
        load({})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\nprot = 1", r"\[server\]: prot is not a setting; did you mean port\?"),
        ("[servr]\nport = 1", r"servr is not a setting; did you mean server\?"),
        ("port = 1", r"port belongs in the table \[server\]"),
        ("[engine]\nport = 1", r"port belongs in the table \[server\]"),
        ("[server\n", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, told: str):
    file = tmp_path / "wrong.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidSettings, match=told):
        load({}, file)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load({}, tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BEAMHOUSE_PORT", "tcp://10.0.0.1:8000"),
        ("BEAMHOUSE_SERVICE_HOST", "10.0.0.1"),
        ("BEAMHOUSE_SERVICE_PORT_HTTP", "8000"),
        ("BEAMHOUSE_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("BEAMHOUSE_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("BEAMHOUSE_METRICS_PORT", "tcp://10.0.0.1:9090"),
    ],
)
def test_what_kubernetes_injects_is_not_a_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    assert Settings().server.port == 8000


def test_every_key_has_a_meaning_beside_its_default():
    assert set(read_meanings()) == set(KEYS)
    assert {part: list(table) for part, table in tomllib.loads(default_text()).items()} == {
        part: list(kind.model_fields) for part, kind in PARTS.items()
    }


def test_no_key_stands_in_two_parts():
    names = [key for kind in PARTS.values() for key in kind.model_fields]
    assert len(names) == len(set(names))


def test_every_key_is_obeyed_somewhere():
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for room in ("config", "engine", "server")
        for path in (ROOT / room).rglob("*.py")
    )
    ignored = [key for key in KEYS if not re.search(rf"\.{key}\b", code) and key != "served_name"]
    assert ignored == []


def test_only_the_settings_read_the_environment():
    readers = [
        str(path.relative_to(ROOT))
        for room in ("engine", "server", "schemas")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))
    ]
    assert readers == ["server/command/doctor.py"]
