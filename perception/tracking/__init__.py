"""Tracks: numbers that objects keep from frame to frame."""
