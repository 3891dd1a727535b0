"""Beamhouse: all of Hugging Face's `generate()` over HTTP.

The folders stand at the top of the repository; the links beside this file make them one package, so that nothing
called `config` or `server` ever lands on the path of whoever installs it.
"""
