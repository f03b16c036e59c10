"""Hessian-vector products of adapter blocks: passes over the data, their graphs, and two kinds of blocks."""
