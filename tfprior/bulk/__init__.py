"""Work on more data than one machine holds: a job of many shards, in this process or on a Dask cluster.

    job = bulk.encode_job("tokenizer_bundle", "images.npy", shard_size=1024)
    index = bulk.run(job, "codes")                            # in this process
    with bulk.connected(workers=8) as client:                 # eight processes of this machine
        index = bulk.run(job, "codes", client)
    with bulk.connected("tcp://10.0.0.1:8786") as client:     # any cluster
        index = bulk.run(job, "codes", client)

A shard is a pure function of the job and of the shard's number, so that it does not matter who makes it, or
how often: shards that stand are not made again, and a killed job goes on.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compressing": ["compress_job"],
        "drawing": ["sample_job"],
        "encoding": ["encode_job"],
        "engine": ["connected"],
        "index": ["Entry", "Index", "read_index"],
        "job": ["DataAt", "Job", "ModelAt"],
        "running": ["run"],
        "scoring": ["score_job"],
    },
)
