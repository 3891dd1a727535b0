"""The library's side of a comparison: `generate()` in this process, or an older one in another."""
