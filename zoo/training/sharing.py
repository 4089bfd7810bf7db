"""What networks of one model may share: weights of one optimizer, each of which moves once."""


def check_apart(networks):
    """Refuses a weight that two optimizers would move, each towards an aim of its own.

    Args:
        networks: {name of an optimizer: {attribute: `keras.Model`}}.

    Raises:
        ValueError: If networks of two optimizers share a trainable weight.
    """
    moved = {}
    for name, moving in networks.items():
        for attribute, network in moving.items():
            for variable in network.trainable_variables:
                other, owner = moved.setdefault(id(variable), (name, attribute))
                if other != name:
                    raise ValueError(
                        f"The {owner} and the {attribute} share the weight `{variable.path}`, which `{other}` and "
                        f"`{name}` would both move, each towards an aim of its own. Give each network layers of its "
                        "own, or freeze what they share (`layer.trainable = False`)."
                    )


def check_restorable(networks):
    """Refuses to save layers that different networks share: Keras 3.15 would make one for each of them in loading.

    Args:
        networks: {attribute: `keras.Model`}; one and the same may have several attributes.

    Raises:
        ValueError: If two share a layer with weights, and are not one network.
    """
    owners = {}
    for attribute, network in networks.items():
        for layer in network._flatten_layers():
            owner, owning = owners.setdefault(id(layer), (attribute, network))
            if owning is not network and layer.weights:
                raise ValueError(
                    f"The {owner} and the {attribute} share the layer {layer.name!r}, which a file of Keras cannot "
                    "tell: loading would make two of it. Keep its weights by `model.save_weights`, and load them into "
                    "a model that is built in the same way; `export` has no such limit."
                )
