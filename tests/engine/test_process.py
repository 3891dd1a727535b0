"""The engine process while it starts: what it says of files that cannot be served."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from beamhouse.config.settings import Settings
from beamhouse.engine.link.launch import Launch
from beamhouse.engine.link.messages import LoadFailed, Outbound
from beamhouse.engine.loading.files import BUILTIN_FILES
from beamhouse.engine.process import serve


class Said:
    """Stands where the loop's channel would be."""

    def __init__(self) -> None:
        self.messages: list[Outbound] = []

    def say(self, message: Outbound) -> None:
        self.messages.append(message)


def changed(**fields: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        config = path / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | fields))

    return change


BROKEN: dict[str, Callable[[Path], object]] = {
    "nothing at all": lambda path: [file.unlink() for file in path.iterdir()],
    "half a configuration": lambda path: (path / "config.json").write_text('{"a": '),
    "a configuration that is a list": lambda path: (path / "config.json").write_text("[1]"),
    "half of the weights": lambda path: (path / "model.safetensors").write_bytes(b"\x10" * 100),
    "weights of another size": changed(hidden_size=128),
    "an unknown architecture": changed(model_type="nowhere"),
    "no heads": changed(num_attention_heads=0),
    "half a tokenizer": lambda path: (path / "tokenizer.json").write_text('{"a": '),
    "a file where a directory should be": lambda path: shutil.rmtree(path) or path.write_text("model"),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_what_is_broken_ends_with_its_reason_in_one_line(
    what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(BUILTIN_FILES, model)
    BROKEN[what](model)
    settings, said = Settings(model={"model": str(model)}), Said()
    launch = Launch(settings.model.model_dump(mode="json"), settings.engine.model_dump(mode="json"), str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        serve(launch, said)
    (failed,) = [message for message in said.messages if isinstance(message, LoadFailed)]
    assert ended.value.code == 3
    assert len(failed.error) > 10
    assert "\n" not in failed.error
    assert "Traceback" not in capfd.readouterr().err
