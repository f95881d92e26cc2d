"""Trains the digits model and writes digits.onnx, heldout.images and heldout.labels beside this file.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python train.py            # about twenty seconds on one core
    venv/bin/python train.py --check    # trains again and compares with the committed files

Everything follows from SEED: the split, the initial weights, the order of the batches and the shifts. Arithmetic is
pinned below to one thread and to AVX2 kernels, so that the same weights come out on every x86-64 processor that has it.
"""

import os

# Before numpy is imported: its SIMD level and OpenBLAS's kernels change the last bits of sums, which could reach a weight.
os.environ["OPENBLAS_CORETYPE"] = "Haswell"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["NPY_DISABLE_CPU_FEATURES"] = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4"

import argparse
import hashlib
import pathlib
import sys
import warnings

warnings.filterwarnings("ignore", message="During parsing environment variable.*", category=ImportWarning)

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

SEED = 20_240_601
HELD_OUT_PER_CLASS = 36  # 360 of 1,797
CHANNELS = (16, 32)
EPOCHS = 120
BATCH = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-4
MINIMUM_ACCURACY = 0.97

HERE = pathlib.Path(__file__).parent


def split(labels, random):
    """Positions of training and held-out images: the same number held out of every class."""
    held_out = np.sort(
        np.concatenate(
            [random.permutation(np.flatnonzero(labels == digit))[:HELD_OUT_PER_CLASS] for digit in range(10)]
        )
    )
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def patches(x):
    """[n, c, h, w] -> [n, h * w, c * 9]: what a padded 3x3 convolution sees at each place."""
    n, c, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, h * w, c * 9)


def convolve(x, weight, bias):
    """Padded 3x3 convolution; also gives the patches, which the gradient needs."""
    n, _, h, w = x.shape
    columns = patches(x)
    y = columns @ weight.reshape(len(weight), -1).T + bias
    return y.transpose(0, 2, 1).reshape(n, len(weight), h, w), columns


def convolve_back(dy, columns, weight, need_dx):
    """Gradients of `convolve` by input, weight and bias."""
    n, out, h, w = dy.shape
    flat = dy.reshape(n, out, h * w)
    dweight = np.tensordot(flat, columns, axes=((0, 2), (0, 1))).reshape(weight.shape)
    dx = convolve(dy, weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), 0.0)[0] if need_dx else None
    return dx, dweight, flat.sum(axis=(0, 2))


def pool(x):
    """2x2 maximum; also gives which of the four it was."""
    n, c, h, w = x.shape
    cells = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    return cells.max(axis=-1), cells.argmax(axis=-1)


def pool_back(dy, which):
    n, c, h, w = dy.shape
    cells = np.zeros((n, c, h, w, 4))
    np.put_along_axis(cells, which[..., None], dy[..., None], axis=-1)
    return cells.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h * 2, w * 2)


def initial_parameters(random):
    first, second = CHANNELS
    shapes = {
        "conv1.weight": (first, 1, 3, 3),
        "conv1.bias": (first,),
        "conv2.weight": (second, first, 3, 3),
        "conv2.bias": (second,),
        "dense.weight": (10, second * 4),
        "dense.bias": (10,),
    }
    return {
        name: random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else np.zeros(shape)
        for name, shape in shapes.items()
    }


def forward(p, x):
    y1, columns1 = convolve(x, p["conv1.weight"], p["conv1.bias"])
    a1, which1 = pool(np.maximum(y1, 0))
    y2, columns2 = convolve(a1, p["conv2.weight"], p["conv2.bias"])
    a2, which2 = pool(np.maximum(y2, 0))
    flat = a2.reshape(len(x), -1)
    logits = flat @ p["dense.weight"].T + p["dense.bias"]
    return logits, (y1, columns1, which1, y2, columns2, which2, a2, flat)


def gradients(p, x, labels):
    """Gradients of the mean cross-entropy."""
    logits, (y1, columns1, which1, y2, columns2, which2, a2, flat) = forward(p, x)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    d = odds / odds.sum(axis=1, keepdims=True)
    d[np.arange(len(x)), labels] -= 1
    d /= len(x)
    g = {"dense.weight": d.T @ flat, "dense.bias": d.sum(axis=0)}
    d = pool_back((d @ p["dense.weight"]).reshape(a2.shape), which2) * (y2 > 0)
    d, g["conv2.weight"], g["conv2.bias"] = convolve_back(d, columns2, p["conv2.weight"], True)
    d = pool_back(d, which1) * (y1 > 0)
    _, g["conv1.weight"], g["conv1.bias"] = convolve_back(d, columns1, p["conv1.weight"], False)
    return g


def shifted(x, random):
    """Each image moved by up to one pixel either way, edges filled with background."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    down, right = random.randint(0, 3, (2, len(x)))
    return np.stack([image[:, r : r + 8, c : c + 8] for image, r, c in zip(padded, down, right)])


def train(x, labels, random):
    """Adam with decoupled weight decay and a cosine schedule, in double precision."""
    p = initial_parameters(random)
    mean = {name: np.zeros_like(value) for name, value in p.items()}
    square = {name: np.zeros_like(value) for name, value in p.items()}
    steps = EPOCHS * (len(x) // BATCH)
    step = 0
    for _ in range(EPOCHS):
        order = random.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            step += 1
            for name, g in gradients(p, shifted(x[chosen], random), labels[chosen]).items():
                mean[name] = 0.9 * mean[name] + 0.1 * g
                square[name] = 0.999 * square[name] + 0.001 * g * g
                update = (mean[name] / (1 - 0.9**step)) / (np.sqrt(square[name] / (1 - 0.999**step)) + 1e-8)
                p[name] = p[name] - rate * (update + WEIGHT_DECAY * p[name])
    return {name: value.astype(np.float32) for name, value in p.items()}


def export(p):
    """The network as ONNX: static shapes, opset 17."""
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "conv1.weight", "conv1.bias"], ["conv1"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Relu", ["conv1"], ["relu1"]),
        node("MaxPool", ["relu1"], ["pool1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pool1", "conv2.weight", "conv2.bias"], ["conv2"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Relu", ["conv2"], ["relu2"]),
        node("MaxPool", ["relu2"], ["pool2"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["pool2"], ["features"]),
        node("Gemm", ["features", "dense.weight", "dense.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value, name) for name, value in p.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="depx models/zoo/digits"
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    check = arguments.parse_args().check

    # The frozen legacy generator: its streams are promised to stay the same in every version of numpy.
    random = np.random.RandomState(SEED)
    data = load_digits()
    pixels, labels = data.images.astype(np.uint8), data.target
    training, held_out = split(labels, random)
    x = pixels[:, None].astype(np.float64) / 16
    p = train(x[training], labels[training], random)

    right = {
        name: int((forward(p, x[chosen].astype(np.float32))[0].argmax(axis=1) == labels[chosen]).sum())
        for name, chosen in (("training", training), ("held-out", held_out))
    }
    print(f"parameters: {sum(value.size for value in p.values())}")
    for name, chosen in (("training", training), ("held-out", held_out)):
        print(f"{name}: {right[name]} of {len(chosen)} right ({right[name] / len(chosen):.2%})")
    if right["held-out"] < MINIMUM_ACCURACY * len(held_out):
        sys.exit(f"held-out accuracy is under {MINIMUM_ACCURACY:.0%}: nothing written")

    files = {
        "digits.onnx": export(p),
        "heldout.images": pixels[held_out].tobytes(),
        "heldout.labels": "".join(f"{label}\n" for label in labels[held_out]).encode(),
    }
    different = []
    for name, content in files.items():
        print(f"{hashlib.sha256(content).hexdigest()}  {name} ({len(content)} bytes)")
        if not check:
            (HERE / name).write_bytes(content)
        elif (HERE / name).read_bytes() != content:
            different.append(name)
    if different:
        sys.exit(f"not the same bytes as committed: {', '.join(different)}")


if __name__ == "__main__":
    main()
