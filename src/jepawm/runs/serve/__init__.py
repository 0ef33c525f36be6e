"""A model served to a robot's own program: websocket frames of msgpack on this machine."""
