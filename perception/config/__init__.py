"""What a node is told, and how it is put together from defaults, a TOML file, the environment and flags."""

from perception.config.camera import CameraConfig
from perception.config.layers import ENV_PREFIX, Layers, flag_of, load_config, read_layers
from perception.config.node import RULES, NodeConfig, Policy
from perception.config.rules import nearest
from perception.config.toml_file import read_toml

__all__ = [
    "ENV_PREFIX",
    "RULES",
    "CameraConfig",
    "Layers",
    "NodeConfig",
    "Policy",
    "flag_of",
    "load_config",
    "nearest",
    "read_layers",
    "read_toml",
]
