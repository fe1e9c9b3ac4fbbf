"""ONNX graphs built from arrays: the encoder, the head, and an int8 copy. No torch."""
