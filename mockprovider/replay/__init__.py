"""Recordings played again: the same bytes in the same writes at the same times, and with faults laid over them."""
