"""Values of options, as text gives them."""

import argparse


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def setting(text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not mark:
        raise argparse.ArgumentTypeError(f"{text} is not KEY=VALUE")
    return key, value
