"""The training side of roadcast: data, networks, losses, metrics, and the export of ONNX graphs."""
