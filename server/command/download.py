"""Fetch a model's files before anybody serves it, or look whether a directory holds one."""

import sys
from pathlib import Path

from beamhouse.config.settings import Settings
from beamhouse.engine.loading.files import find_model, weight_files
from beamhouse.schemas.words import Stage
from beamhouse.server.command.loading_report import LineReport, LoadingReport, loading_report

LINE_SHARE = 0.1
"""How much more is there when another line is said, where there is no terminal."""


class ShareReport(LineReport):
    """A line for each tenth of the download, where there is no terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.said = 0.0

    def loading(self, stage: Stage, share: float) -> None:
        super().loading(stage, share)
        if stage is Stage.DOWNLOAD and share >= self.said + LINE_SHARE:
            self.said = share
            self.say(f"{stage}: {share:.0%}")


def download(settings: Settings) -> Path:
    """The directory that holds the model. Raises ModelUnsupported."""
    report: LoadingReport = loading_report() if sys.stderr.isatty() else ShareReport()
    try:
        directory = find_model(settings.model, report.loading)
    finally:
        report.done()
    report.say(size_line(directory))
    return directory


def size_line(directory: Path) -> str:
    files = weight_files(directory)
    return f"{len(files)} safetensors, {sum(file.stat().st_size for file in files) / 2**20:.1f} MiB"
