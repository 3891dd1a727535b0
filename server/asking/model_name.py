"""The name of a model in a request."""

from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ErrorCode
from beamhouse.server.edge.errors import Refused
from beamhouse.server.service import Model, Service


def check_model_name(service: Service, model: Model, name: str | None) -> None:
    """Any name means the served model, since many clients send one of their own; Refused where the server is strict."""
    if name is not None and service.settings.server.strict_model_name and name != model.info.model_id:
        raise unknown_model(model, name)


def unknown_model(model: Model, name: str) -> Refused:
    message = f"there is no model {name[:MAX_SHOWN]}; this server serves {model.info.model_id}"
    return Refused(404, ErrorCode.UNKNOWN_MODEL, message)
