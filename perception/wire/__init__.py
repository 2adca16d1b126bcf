"""Wire protocol 1.0: what goes over the socket, byte for byte."""
