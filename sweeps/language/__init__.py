"""Candidates in words, and what a frozen language model makes of them: texts, embeddings, features. They know no score."""
