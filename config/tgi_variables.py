"""The variables of text-generation-inference's launcher, for those who change the image and nothing else.

They are read only where `tgi_compat` is on, and give way to BEAMHOUSE_ variables and the command line.
"""

import ipaddress
import json
from collections.abc import Callable, Mapping

from beamhouse.config.sources import Given, InvalidSettings, Layer

SAME = {
    "MODEL_ID": "model",
    "REVISION": "revision",
    "DTYPE": "dtype",
    "HUGGINGFACE_HUB_CACHE": "cache_dir",
    "PORT": "port",
    "MAX_CONCURRENT_REQUESTS": "max_requests",
    "MAX_CLIENT_BATCH_SIZE": "max_prompts",
    "MAX_BEST_OF": "max_sequences",
    "MAX_STOP_SEQUENCES": "max_stop_strings",
    "MAX_TOP_N_TOKENS": "max_top_tokens",
    "MAX_INPUT_TOKENS": "max_prompt_tokens",
    "MAX_INPUT_LENGTH": "max_prompt_tokens",
    "MAX_TOTAL_TOKENS": "max_total_tokens",
}
"""The setting that takes the value of a variable as it is."""

EIGHT_BITS = frozenset({"bitsandbytes", "eetq"})
"""Quantisations of any weights to 8 bits, for which ours stands."""

REFUSED = {
    "API_KEY": "this server checks no keys; let what stands in front of it do so",
    "CORS_ALLOW_ORIGIN": "this server sends no CORS headers; let what stands in front of it do so",
    "DISABLE_GRAMMAR_SUPPORT": "grammars cannot be turned off",
    "KV_CACHE_DTYPE": "the cache has the type of the model",
    "LORA_ADAPTERS": "adapters are not served",
    "NGROK": "this server opens no tunnel",
    "ROPE_FACTOR": "positions are scaled as the model's config.json says",
    "ROPE_SCALING": "positions are scaled as the model's config.json says",
    "TOKENIZER_CONFIG_PATH": "the chat template is the one beside the model",
    "TRUST_REMOTE_CODE": "code that comes with a model is never run",
    "WEIGHTS_CACHE_OVERRIDE": "weights come from where the model is; HUGGINGFACE_HUB_CACHE moves the cache of the Hub",
}
"""What would change answers, or who gets them, and is not done here."""

WITHOUT_EFFECT = (
    "ATTENTION",
    "CUDA_GRAPHS",
    "CUDA_MEMORY_FRACTION",
    "DISABLE_CUSTOM_KERNELS",
    "MASTER_ADDR",
    "MASTER_PORT",
    "MAX_BATCH_PREFILL_TOKENS",
    "MAX_BATCH_SIZE",
    "MAX_BATCH_TOTAL_TOKENS",
    "MAX_WAITING_TOKENS",
    "NUM_SHARD",
    "OTLP_ENDPOINT",
    "OTLP_SERVICE_NAME",
    "PREFIX_CACHING",
    "SHARDED",
    "SHARD_UDS_PATH",
    "SPECULATE",
    "USAGE_STATS",
    "VALIDATION_WORKERS",
    "WAITING_SERVED_RATIO",
)
"""What only says how TGI does its work; a log line names those that are set."""

OFF = frozenset({"0", "false", "no", "off"})


def read_environment(environ: Mapping[str, str]) -> Layer:
    """The settings that these variables stand for. Raises InvalidSettings for those that cannot be obeyed."""
    given = {name: value for name, value in environ.items() if value}
    for name, reason in REFUSED.items():
        if name in given and given[name].lower() not in OFF:
            raise InvalidSettings(f"{name} cannot be obeyed: {reason}")
    lengths = {given[name] for name in ("MAX_INPUT_TOKENS", "MAX_INPUT_LENGTH") if name in given}
    if len(lengths) > 1:
        raise InvalidSettings("MAX_INPUT_TOKENS and MAX_INPUT_LENGTH are two names of one setting; they differ")
    layer = {key: Given(given[name], name) for name, key in SAME.items() if name in given}
    for name, (key, read) in READ.items():
        if name in given and (value := read(given[name])) is not None:
            layer[key] = Given(value, name)
    return layer | green_list(given)


def without_effect(environ: Mapping[str, str]) -> list[str]:
    """Those that are set and change nothing here."""
    return [name for name in WITHOUT_EFFECT if environ.get(name)]


def address(text: str) -> str | None:
    """An address to listen on. Containers put their own name here, which TGI does not take for one either."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return None
    return text


def quantization(text: str) -> str:
    if text not in EIGHT_BITS:
        known = " and ".join(sorted(EIGHT_BITS))
        raise InvalidSettings(f"QUANTIZE is {text}; {known} are served, as int8, and BEAMHOUSE_QUANTIZE=int4")
    return "int8"


def log_format(text: str) -> str | None:
    return None if text.lower() in OFF else "json"


READ: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "HOSTNAME": ("host", address),
    "QUANTIZE": ("quantize", quantization),
    "JSON_OUTPUT": ("log_format", log_format),
}
"""The setting that a variable stands for, and how its value is read; None where it says nothing."""


def green_list(given: Mapping[str, str]) -> Layer:
    """TGI's watermark: it has one for all requests, of this share of the vocabulary and with this bias."""
    names = ("WATERMARK_GAMMA", "WATERMARK_DELTA")
    if not any(name in given for name in names):
        return {}
    try:
        gamma, delta = float(given.get(names[0], "0.5")), float(given.get(names[1], "2.0"))
    except ValueError:
        raise InvalidSettings(f"{' and '.join(names)} are numbers") from None
    mark = json.dumps({"greenlist_ratio": gamma, "bias": delta})
    return {"tgi_watermark": Given(mark, next(name for name in names if name in given))}
