"""One graph that takes text: the tokeniser as ONNX operators."""
