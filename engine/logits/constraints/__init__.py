"""Which tokens a list, a trie or a grammar allows."""
