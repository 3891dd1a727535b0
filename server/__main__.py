"""`python -m beamhouse.server` is the command `beamhouse`."""

from beamhouse.server.command.cli import main

if __name__ == "__main__":
    main()
