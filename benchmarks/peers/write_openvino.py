"""Writes a model as OpenVINO's own format, with its weights in the type they have. Runs in OpenVINO's environment.

python -m benchmarks.peers.write_openvino MODEL DIRECTORY
"""

import argparse

from optimum.exporters.openvino import main_export  # type: ignore[import-not-found]  # its environment alone has it


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.peers.write_openvino", description="A model for OpenVINO.")
    parser.add_argument("model")
    parser.add_argument("directory")
    options = parser.parse_args()
    task = {"task": "text-generation-with-past", "library_name": "transformers"}
    main_export(options.model, options.directory, convert_tokenizer=False, **task)


if __name__ == "__main__":
    main()
