"""Integer images to train on: embedded ones, well-known ones, your own arrays and folders."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "codes": ["ShardedCodes", "encode_dataset"],
        "encoding": ["encode_grids", "encode_images"],
        "holdout": ["hold_out_validation", "split_of"],
        "images": ["CodesOrigin", "Images", "ResumableDataset"],
        "image_size": ["parse_image_size"],
        "loading": ["load"],
        "numpy_files": ["save_npz"],
        "slices": ["Slice", "Slices"],
        "slicing": ["open_slices"],
        "turns": ["spread"],
    },
)
