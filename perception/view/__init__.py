"""Eyes: what the node found, drawn over its frames, as a video or a contact sheet."""
