"""Gaussian processes for few observations: fitted in batches, on features as they are or learned, and what is expected of them.

They are given tensors and know nothing of candidates or searches.
"""
