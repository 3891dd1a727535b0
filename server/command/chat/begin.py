"""How a chat begins: with whom, and with what."""

from dataclasses import dataclass
from typing import Any

from beamhouse.config.settings import Settings
from beamhouse.engine.link.child import Child
from beamhouse.server.command.chat.conversation import Conversation
from beamhouse.server.command.chat.partners import local, remote
from beamhouse.server.command.chat.terminal import Chat


@dataclass(frozen=True, slots=True)
class Opening:
    """What the command line says: fields of the configuration and of the request, and what stands before all turns."""

    is_plain: bool
    system: str | None
    config: dict[str, Any]
    request: dict[str, Any]

    def conversation(self) -> Conversation:
        return Conversation(is_plain=self.is_plain, system=self.system, config=self.config, request=self.request)


def with_server(url: str, opening: Opening) -> None:
    """Raises CommandFailed."""
    with remote(url) as partner:
        Chat(partner, opening.conversation()).run()


def with_model(settings: Settings, child: Child, opening: Opening) -> None:
    """Raises CommandFailed or EngineUnavailable."""
    with local(settings, child) as partner:
        Chat(partner, opening.conversation()).run()
