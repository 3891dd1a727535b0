"""The client's types are those of the server."""

from benchmarks.house.client_shapes import SHAPES, files


def test_the_shapes_are_what_the_server_says_of_itself():
    for path, text in files():
        assert path.read_text(encoding="utf-8") == text, "python -m benchmarks.house.client_shapes writes it anew"
    assert {path.name for path in SHAPES.glob("*.py")} == {path.name for path, _ in files()} | {"__init__.py"}
