"""Merging models: who changed which tensor, what becomes of it, and the arithmetic where several did."""
