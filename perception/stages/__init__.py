"""Stages: functions from an iterator of scenes to an iterator of scenes."""
