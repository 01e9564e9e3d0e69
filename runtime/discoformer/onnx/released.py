"""SHA-256 of the files of the released models, by name and version of the model.

Written by ``python tests/house/test_released_files.py`` from the folders in ``models``; do not edit.
"""

RELEASED: dict[tuple[str, str], dict[str, str]] = {
    ("base", "11"): {
        "config.json": "16ae0ed297b4bc4a300a34ce8b4356ce07202b0a1ecc9a30ff42b0b39e5f1e98",
        "mixture.onnx": "f0f969287d070953b43f87bf8ccddaa0b162df10c3aa0cbd221e14e6dd2f8a03",
        "encode.onnx": "d9ef9dbe57df909209ef0c319532de27e8fdd4f9e88067aac0df56468862ac46",
        "query.onnx": "5c100e8613aaaf1255976eacc6077c8472d1b2179dde8487b6facf49bee62054",
        "discoformer.onnx": "1357ef176f7e091f6442361c281fc5018756511e3697acbc101f42895729a569",
        "weights.safetensors": "b85cf67674d91e4f366964c2207d956e6c0f287b84293dec107b59905650ec98",
        "mixture.safetensors": "3165d71dbad71810fc8ea354a59e199a6ef9b46699b00ffb2dd607475a5f524f",
        "adaptation.safetensors": "961569acabdd8109f15a6632bb7ca72042ef08e4448d346eaf5b110388317fce",
    },
}
