"""Gives back the memory of weights that were read from a file and are not needed in their plain form any more."""

import ctypes
import mmap
from pathlib import Path

import torch

MAPS = Path("/proc/self/maps")


def forget_pages(tensor: torch.Tensor, maps: Path = MAPS) -> None:
    """Unmap the pages of a tensor that lies in a file mapped to memory; whoever reads it again gets it from the file.

    Tensors that lie elsewhere are left alone. The mapping must not have been written to.
    """
    begin = tensor.untyped_storage().data_ptr() + tensor.storage_offset() * tensor.itemsize
    begin, end = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, (begin + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    # Of a file's pages, MADV_DONTNEED only drops the copy in memory; other memory would be zeroed, which is why the
    # addresses are looked up first.
    if begin < end and _is_file(begin, end, maps):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def _is_file(begin: int, end: int, maps: Path) -> bool:
    """Whether the addresses lie in one mapping of a file."""
    try:
        lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    for line in lines:
        addresses, *rest = line.split(maxsplit=5)
        first, last = (int(address, 16) for address in addresses.split("-"))
        if first <= begin and end <= last:
            return len(rest) == 5 and rest[-1].startswith("/")
    return False
