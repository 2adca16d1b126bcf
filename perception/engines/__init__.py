"""Engines: ONNX Runtime, OpenVINO and the two that ship for tests."""
