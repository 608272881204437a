"""An HTTP server of bundles: NumPy, ONNX Runtime and FastAPI, without Keras or TensorFlow.

`create_app` makes the ASGI application that `tfprior serve` runs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"app": ["create_app"], "settings": ["Settings"]}
)
