"""SHA-256 of the files of the released models, by name and version of the model.

Written by ``python tests/house/test_released_files.py`` from the folders in ``models``; do not edit.
"""

RELEASED: dict[tuple[str, str], dict[str, str]] = {
    ("base", "9"): {
        "config.json": "49b88fd757b2c5a03b93bd609fb4ba16778f684b514347156f253b35474fe04b",
        "mixture.onnx": "524e2d967573e378ab976fe03674133a230761c96d61dab175f837d0475c2b68",
        "encode.onnx": "bda1beb82435ff7c9fcbbedee99524c8a56a59c7a8951975d7c16fa6433f36ac",
        "query.onnx": "a32014df5778f06ada5bd3040e0f2e9d4062df58be6789c3f5dfe76f9fe82b4b",
        "discoformer.onnx": "92bbc71111478722896362b043415e6e70d86fa47244cf8b9dcd7ac0a6d3013a",
        "weights.safetensors": "ed33b9beccff67cd1946f042eef8b52f83e34675166e67b83dcf1f45e1fc7485",
        "mixture.safetensors": "3dc53f3534d4199accc222eda2665bfdbb29c696a44f05478e38a894e6e1e844",
        "adaptation.safetensors": "023892596b89eabed6ec745199c00b5f9e28c52f9ef178990f51ef5a216d029f",
    },
}
