"""What an error answer looks like: RFC 9457 problem JSON, the same for every route and for the `error` event."""

from pydantic import BaseModel, ConfigDict, Field

from beamhouse.schemas.words import ErrorCode, ProblemCode


class FieldProblem(BaseModel):
    """One thing wrong with one field of the body."""

    pointer: str = Field(description="JSON pointer to the field, as `/generation_config/top_p`; empty: the whole body.")
    code: ProblemCode
    message: str = Field(description="One sentence for people: what was given, what is allowed.")


class ProblemJson(BaseModel):
    """Why a request was not answered."""

    model_config = ConfigDict(json_schema_extra={"description": "RFC 9457 problem, `application/problem+json`."})

    type: str = Field(description="A URI that stands for the kind of problem.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status; inside an event stream, the one it would have had.")
    detail: str = Field(description="This problem in a sentence.")
    code: ErrorCode
    request_id: str = Field(description="The value of X-Request-Id, for reports and logs.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    errors: list[FieldProblem] = Field(default=[], description="At most ten fields that are wrong.")
