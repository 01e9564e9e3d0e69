"""SHA-256 of the files of the released models, by name and version of the model.

Written by ``python tests/house/test_released_files.py`` from the folders in ``models``; do not edit.
"""

RELEASED: dict[tuple[str, str], dict[str, str]] = {
    ("base", "10"): {
        "config.json": "31f14f7e646cb7527bd9eb40fbaa26f5a75b1cfdc2d16d29150f95c94ef9de2a",
        "mixture.onnx": "2a49c0b385edd9ba6e096ceb776cb18cdf0af7f6afb46aeb314f561f16c3ec3a",
        "encode.onnx": "2dfb52953f7deb6f95e69668ab878e1a02e13752d70aad860fea5f6a308a1622",
        "query.onnx": "bf27881762e19827e5418644ed40d66bce74037f4c91762e74b098bdb01cc009",
        "discoformer.onnx": "66cf7242f70d1d296628d7de3ced0afd6bd7aa510a4a29ef177a52298da7a72c",
        "weights.safetensors": "65a9c5b472f5f89ac9dcf3a7ba04eca5d698ab1be7ff371fa70d58a56d69cb02",
        "mixture.safetensors": "3165d71dbad71810fc8ea354a59e199a6ef9b46699b00ffb2dd607475a5f524f",
        "adaptation.safetensors": "9e00c7a44fe1d7be26bc6ceb24b75f7f6e3ea5be416e7a7d0ce7af9a80ab6c8b",
    },
}
