"""The devices that a run trains on."""

import os


def make_strategy(name, replicas=None):
    """The `tf.distribute.Strategy` of a name; to be called before TensorFlow has made its devices.

    Args:
        name: "auto", "mirrored", "multiworker" or "cpu".
        replicas: Replicas for "mirrored"; without GPUs the CPU is split into so many logical devices.

    Returns:
        `tf.distribute.Strategy`.
    """
    import tensorflow as tf

    if name == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return tf.distribute.get_strategy()
    if name == "multiworker" or (name == "auto" and os.environ.get("TF_CONFIG")):
        if not os.environ.get("TF_CONFIG"):
            raise ValueError(
                "`--strategy multiworker` needs the environment variable TF_CONFIG, with the addresses of all workers "
                'and the index of this one: {"cluster": {"worker": ["host0:2000", "host1:2000"]}, '
                '"task": {"type": "worker", "index": 0}}. Received: none.'
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
