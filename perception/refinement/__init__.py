"""Refinement of label maps by the picture they belong to: dense conditional random fields."""
