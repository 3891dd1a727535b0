"""`python -m beamhouse.engine` is the engine process: `beamhouse.engine.process`."""

import gc


def main() -> None:
    # Nothing that is made while importing ever becomes garbage; looking for some takes a fifth of the time.
    gc.disable()
    from beamhouse.engine.process import run

    run()


if __name__ == "__main__":
    main()
