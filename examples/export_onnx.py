"""Export a checkpoint to ONNX, embed images with onnxruntime alone, and compare the features with those of torch.

python examples/export_onnx.py runs/demo/spcl/checkpoint.pth.tar encoder.onnx a.jpg b.jpg
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

import spcl


def embed_with_onnxruntime(path: str, images: list[str]) -> np.ndarray:
    """Features ``[N, D]`` with onnxruntime, NumPy and Pillow alone: RGB, values from 0 to 255, channels first."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    height, width = json.loads(session.get_modelmeta().custom_metadata_map["input_size"])
    opened = [Image.open(image).convert("RGB").resize((width, height), Image.Resampling.BICUBIC) for image in images]
    pixels = np.stack([np.asarray(image) for image in opened]).transpose(0, 3, 1, 2).astype(np.float32)
    return session.run(["features"], {"images": pixels})[0]


def main(checkpoint: str, path: str, *images: str) -> None:
    encoder = spcl.load_encoder(checkpoint)
    written = spcl.export_onnx(encoder, path, overwrite=True)
    print(f"{written.path}: {written.num_bytes / 1e6:.1f} MB, smallest cosine {written.agreement.least_cosine:.6f}")
    features = embed_with_onnxruntime(path, list(images))
    difference = np.abs(features - encoder.embed(images)).max()
    print(f"{features.shape[0]} features of length {features.shape[1]}; largest difference to torch {difference:.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
