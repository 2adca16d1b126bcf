"""Recordings: what a node published, in MCAP files that Foxglove and Rerun open, and its replay.

One MCAP message holds one message of the wire protocol, byte for byte: channel ``<stream>/<kind>``, encoding
``msgpack``, data = msgpack array [header, part, ...], log time = capture time. Described in docs/recording.md.
"""
