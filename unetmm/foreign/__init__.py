"""Nets of other people's making: read from checkpoints and ONNX, written as ONNX."""
