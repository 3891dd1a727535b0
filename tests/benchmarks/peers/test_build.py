"""What building a peer leaves behind."""

import sys
from pathlib import Path

from benchmarks.peers.build import BUILDERS, FAILED, Site, build


def test_a_build_that_fails_leaves_its_reason_and_one_that_succeeds_takes_it_away(tmp_path: Path, monkeypatch):
    def fails(site: Site) -> None:
        site.call(sys.executable, "-c", "import sys; sys.exit('out of paper')")

    site = Site(tmp_path / "peer", 1)
    monkeypatch.setitem(BUILDERS, "peer", fails)
    assert "out of paper" in (build("peer", site) or "")
    assert "out of paper" in (tmp_path / "peer" / FAILED).read_text()
    monkeypatch.setitem(BUILDERS, "peer", lambda site: None)
    assert build("peer", site) is None
    assert not (tmp_path / "peer" / FAILED).exists()
