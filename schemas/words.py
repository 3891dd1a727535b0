"""The words of answers that programs read, each with its meaning. `docs/words.md` lists them."""

from enum import StrEnum
from typing import Self


class Word(StrEnum):
    """A word that stays the same, and what it means."""

    meaning: str

    def __new__(cls, word: str, meaning: str = "") -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member


class ProblemCode(Word):
    """What is wrong with a field."""

    OUT_OF_RANGE = "out_of_range", "a number, an id or a length is outside of what is allowed"
    CONTEXT_EXCEEDED = "context_exceeded", "the prompt, or what may follow it, is longer than the model allows"
    CONFLICT = "conflict", "does not go with what another field asks for"
    NOT_SUPPORTED = "not_supported", "this server, or this model, does not do that"
    UNKNOWN_FIELD = "unknown_field", "there is no such field"
    UNKNOWN_NAME = "unknown_name", "nothing of that name is known to this server"
    WRONG_TYPE = "wrong_type", "another kind of value is expected"
    WRONG_SHAPE = "wrong_shape", "a list or a tensor has another shape than is expected"
    INVALID = "invalid", "cannot be read in another way; the message says how"
    MISSING = "missing", "is needed"
    EMPTY = "empty", "holds nothing, and needs to hold something"
    TOO_FEW = "too_few", "needs more entries"
    TOO_SHORT = "too_short", "needs more tokens"
    TOO_LONG = "too_long", "has more bytes, tokens or characters than are allowed"
    NOT_ALLOWED = "not_allowed", "the operator of this server does not allow it"
    NO_TOKENIZER = "no_tokenizer", "needs a tokenizer, and the model has none"
    NOT_TOKENIZABLE = "not_tokenizable", "the tokenizer cannot turn it into tokens"
    NOT_UNICODE = "not_unicode", "holds characters that are no text"
    CONTROL_TOKEN = "control_token", "spells a token that has a meaning of its own"
    CHAT_TEMPLATE = "chat_template", "the model's chat template refuses it"
    BAD_ARGUMENTS = "bad_arguments", "a registered class does not take these arguments"
    INVALID_GRAMMAR = "invalid_grammar", "a grammar is wrong or too large"
    BROKEN_CONFIG = "broken_config", "a configuration stored on the server cannot be read"


class FinishType(Word):
    """Why a sequence ended."""

    EOS_TOKEN = "eos_token", "an end token was chosen, `token_id`"
    STOP_STRING = "stop_string", "the text holds one of `stop_strings`, the one in `stop_string`"
    LENGTH = "length", "the maximum length is reached"
    TIME = "time", "`max_time` has passed"
    STOPPING_CRITERION = "stopping_criterion", "the criterion `name` says so"
    ERROR = "error", "the criterion `name` failed"


class Stage(Word):
    """Where the engine stands."""

    STARTING = "starting", "its process begins, for the first time or once more"
    RESOLVE = "resolve", "the model's files are looked for"
    DOWNLOAD = "download", "they are fetched"
    WEIGHTS = "weights", "weights are read"
    CHECK = "check", "the model is tried out"
    READY = "ready", "requests are answered"
    STALLED = "stalled", "it has work and makes no step"
    STOPPING = "stopping", "the server ends, running requests first"
    FAILED = "failed", "it cannot be started again"


class ErrorCode(Word):
    """Why a request was not answered."""

    INVALID_REQUEST = "invalid_request", "fields are wrong; `errors` names them"
    NOT_SUPPORTED = "not_supported", "the same, where all of them ask for what is not supported"
    MALFORMED_REQUEST = "malformed_request", "the head is not that of a request of HTTP/1.1"
    MALFORMED_JSON = "malformed_json", "the body is not JSON"
    DUPLICATE_KEY = "duplicate_key", "a key stands twice in one object of the body"
    TOO_DEEP = "too_deep", "the body is nested too deeply"
    TOO_MANY_VALUES = "too_many_values", "the body holds too many values"
    TOO_MANY_KEYS = "too_many_keys", "an object of the body holds too many keys"
    KEY_TOO_LONG = "key_too_long", "a key of the body is too long"
    AMBIGUOUS_LENGTH = "ambiguous_length", "the head says the length of the body in two ways"
    BODY_TOO_LARGE = "body_too_large", "the body has too many bytes"
    BODY_TIMEOUT = "body_timeout", "the body did not arrive in time"
    HEAD_TIMEOUT = "head_timeout", "the head did not arrive in time"
    HEADERS_TOO_LARGE = "headers_too_large", "the head has too many bytes"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", "the body is said to be something else than JSON"
    UNSUPPORTED_ENCODING = "unsupported_encoding", "the body is compressed"
    NOT_FOUND = "not_found", "there is nothing at this path"
    UNKNOWN_MODEL = "unknown_model", "the server serves no model of that name"
    METHOD_NOT_ALLOWED = "method_not_allowed", "the path has other methods; `Allow` names them"
    HTTP_ERROR = "http_error", "any other fault of the protocol"
    TOO_MANY_CONNECTIONS = "too_many_connections", "the server holds as many connections as it may"
    QUEUE_FULL = "queue_full", "as many requests wait as may"
    ENGINE_UNAVAILABLE = "engine_unavailable", "the model is loading, or the server is stopping"
    DEADLINE_PASSED = "deadline_passed", "the request waited longer than its `deadline_s`"
    REQUEST_FAILED = "request_failed", "a fault of this request alone, while it ran"
    BATCH_FAILED = "batch_failed", "a step failed, and with it all requests that ran"
    MODEL_UNSUPPORTED = "model_unsupported", "the model cannot be served"
    ENGINE_ERROR = "engine_error", "any other fault of the engine"
    INTERNAL_ERROR = "internal_error", "a fault of the server's own code"
