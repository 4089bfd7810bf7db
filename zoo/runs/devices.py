"""The devices that a run trains on."""

import json
import os
import re


def make_strategy(name, replicas=None):
    """The `tf.distribute.Strategy` of a name; to be called before TensorFlow has made its devices.

    Args:
        name: "auto", "mirrored", "multiworker" or "cpu".
        replicas: Replicas for "mirrored"; without GPUs the CPU is split into so many logical devices.

    Returns:
        `tf.distribute.Strategy`.

    Raises:
        ValueError: If there are fewer GPUs than replicas, or TF_CONFIG does not say who the workers are.
    """
    import tensorflow as tf

    if replicas is not None and name == "cpu":
        raise ValueError(f"`--replicas` is for `--strategy mirrored`, which splits the CPU too. Received: {replicas}.")
    if name == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return tf.distribute.get_strategy()
    if name == "multiworker" or (name == "auto" and os.environ.get("TF_CONFIG")):
        check_cluster(os.environ.get("TF_CONFIG"))
        if replicas is not None:
            raise ValueError(
                "With several workers, each takes all the GPUs it sees, so `--replicas` is not for them. Received: "
                f"{replicas}. Leave it out, and set CUDA_VISIBLE_DEVICES (or `zoo.launch --gpus-per-worker`)."
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_physical_devices("GPU")
    if name == "auto" and replicas is None:
        return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
    count = replicas or len(gpus) or 1
    if gpus and count > len(gpus):
        raise ValueError(f"`--replicas` must be at most the number of GPUs, {len(gpus)}. Received: {count}.")
    if not gpus and count > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    kind = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy([f"{kind}:{index}" for index in range(count)])


def check_cluster(text):
    """Checks TF_CONFIG before TensorFlow waits for workers that will never come.

    Args:
        text: Its value, or None.

    Raises:
        ValueError: If it is missing, no JSON, or does not say who this worker is.
    """
    try:
        config = json.loads(text or "")
        cluster, task = config["cluster"], config["task"]
        known = 0 <= int(task["index"]) < len(cluster[task["type"]])
        known = known and all(re.fullmatch(r".+:\d+", one) for addresses in cluster.values() for one in addresses)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known or not set(cluster) <= {"chief", "worker"}:
        raise ValueError(
            "Several workers need the environment variable TF_CONFIG, with the addresses of all and the index of this "
            'one: {"cluster": {"worker": ["host0:2000", "host1:2000"]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: {text or 'none'}. On one machine, `python -m zoo.launch --workers 2 -m ...` sets it."
        )
