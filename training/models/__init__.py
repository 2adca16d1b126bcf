"""Networks: one function per model, each returning a keras.Model."""
