"""Training data: folder layouts, label taxonomies, augmentation and the loader."""
