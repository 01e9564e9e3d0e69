"""SHA-256 of the files of the released models, by name and version of the model.

Written by ``python tests/house/test_released_files.py`` from the folders in ``models``; do not edit.
"""

RELEASED: dict[tuple[str, str], dict[str, str]] = {
    ("base", "10"): {
        "config.json": "d03de7bfb9e2187c1a00422e9f924b2377c0f294faad900bb5ee873ab86d755b",
        "mixture.onnx": "be703cb5d989afa92fddc59f546c5b954cefcf78d95c425b4590d37b16634da5",
        "encode.onnx": "2dfb52953f7deb6f95e69668ab878e1a02e13752d70aad860fea5f6a308a1622",
        "query.onnx": "bf27881762e19827e5418644ed40d66bce74037f4c91762e74b098bdb01cc009",
        "discoformer.onnx": "3c231b922a14c85e2bcf123a11339f7612110cbcb68bab3e9bdc7022c2fe03f7",
        "weights.safetensors": "65a9c5b472f5f89ac9dcf3a7ba04eca5d698ab1be7ff371fa70d58a56d69cb02",
        "mixture.safetensors": "3165d71dbad71810fc8ea354a59e199a6ef9b46699b00ffb2dd607475a5f524f",
        "adaptation.safetensors": "9e00c7a44fe1d7be26bc6ceb24b75f7f6e3ea5be416e7a7d0ce7af9a80ab6c8b",
    },
}
