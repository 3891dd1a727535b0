"""What the files of a model say without its weights: its tokenizer and its own configuration.

    python -m beamhouse.engine.loading.outline DIRECTORY

reads the settings of a model from standard input and writes `outline.json` and the tokenizer into that directory. It is
for whoever needs a model's tokens alone, which takes seconds where weights take minutes.
"""

import logging
import sys
from pathlib import Path

import msgspec
from transformers import AutoConfig

from beamhouse.config.settings import ModelSettings
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.link.messages import LoadFailed
from beamhouse.engine.loading.defaults import read_generation_defaults
from beamhouse.engine.loading.files import BESIDE_WEIGHTS, locate
from beamhouse.engine.loading.tokenizer import load_tokenizer
from beamhouse.engine.state.decoder_config import decoder_config
from beamhouse.schemas.model_info import ModelInfo

OUTLINE = "outline.json"


def outline(settings: ModelSettings, work: Path) -> ModelInfo:
    """The model as far as its files tell; what only a loaded one has is 0 or empty. Raises ModelUnsupported."""
    path = locate(settings, lambda stage, share: None, BESIDE_WEIGHTS)
    tokenizer = load_tokenizer(path, work)
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise ModelUnsupported(f"the configuration in {path} is not one transformers knows: {error}") from error
    decoder = decoder_config(config)
    return ModelInfo(
        model_id=settings.name,
        revision=getattr(config, "_commit_hash", None),
        model_type=config.model_type,
        dtype="",
        device="",
        num_parameters=0,
        vocab_size=decoder.vocab_size,
        context_len=0,
        generation_config=read_generation_defaults(path, config).to_diff_dict(),
        tokenizer_file=tokenizer.file,
        chat_template=tokenizer.chat_template,
        special_tokens=tokenizer.special_tokens,
        tokenizer_switches=tokenizer.switches,
        modes=[],
        fields=[],
        not_obeyed={},
        logits_processors=[],
        stopping_criteria=[],
        tries=[],
        num_layers=0,
        max_rows=0,
        cache_tokens=0,
        runner="",
        attention="",
    )


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    work = Path(sys.argv[1])
    settings = ModelSettings.model_validate_json(sys.stdin.read())
    try:
        said: ModelInfo | LoadFailed = outline(settings, work)
    except ModelUnsupported as error:
        said = LoadFailed(str(error))
    (work / OUTLINE).write_bytes(msgspec.json.encode(said))


if __name__ == "__main__":
    main()
