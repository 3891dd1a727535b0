"""Decoding modes written out plainly: one prompt, no cache, every step the whole sequence again.

What each mode does is told here once in the words of its source; the engine is held against it, and so is `generate()`
or, for modes that the installed library lacks, what older ones answered.
"""
