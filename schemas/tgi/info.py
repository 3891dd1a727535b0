"""What `/info` answers beside our own fields, by the names that TGI's clients look for."""

from pydantic import ConfigDict, Field

from beamhouse.schemas.beamhouse.service import InfoAnswer


class SharedInfo(InfoAnswer):
    """What this server is and can do, in our words and in TGI's."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str | None = None
    model_sha: str | None = Field(default=None, description="The revision that was asked for.")
    model_dtype: str | None = None
    model_device_type: str | None = None
    model_pipeline_tag: str | None = None
    max_concurrent_requests: int | None = None
    max_best_of: int | None = None
    max_stop_sequences: int | None = None
    max_input_tokens: int | None = None
    max_input_length: int | None = Field(default=None, description="The same by its older name.")
    max_total_tokens: int | None = None
    max_client_batch_size: int | None = None
    validation_workers: int | None = Field(default=None, description="Threads that tokenise.")
    router: str | None = None
