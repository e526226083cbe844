"""Tiny tensors: one thread is faster than many, here and in the processes that tests start."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
