"""The kernels of our own: C++ in `src/`, how it is compiled and called, and which models it can compute."""
