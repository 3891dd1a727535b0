"""Which Beamhouse this is."""

from importlib import metadata


def version() -> str:
    """The version of the installed distribution; a bare checkout has none."""
    try:
        return metadata.version("beamhouse")
    except metadata.PackageNotFoundError:
        return "unknown"
