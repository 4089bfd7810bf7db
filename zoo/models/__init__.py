"""One file per algorithm: its objectives and its schedule."""

from zoo.saving import register

# With a model class comes what its files may hold, so that Keras can load them.
register()
