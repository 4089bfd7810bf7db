"""The versions that are served: load what the configuration asks for, keep it while it is used, let it go."""

import asyncio
import contextlib
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grpc import StatusCode

from zoo.serving.formats.folders import find_versions
from zoo.serving.formats.models_config import folder_of, wanted_versions
from zoo.serving.server.configuration import check_below, check_models
from zoo.serving.server.errors import ServingError, invalid
from zoo.serving.server.versions import State, Version, free_version, load_version

_KEPT = 100  # how many ended versions of a model its status still names
_log = logging.getLogger("zoo.serve")


class Models:
    """All versions of all models. Lives on one event loop, so that nothing needs a lock but loading.

    A new version is loaded and warmed up before the old one goes; the old one goes when its last request has ended.

    Args:
        base: Base directory.
        retries: How often loading a version that failed is tried again while its files stay as they are.
        retry_seconds: Least time between two such tries.

    Example:

        models = Models(Path("exports"))
        await models.configure(read_config(Path("exports/models.config")))
        with models.use("wgan_gp") as version:
            version.model.run("sample", seed=[0])
    """

    def __init__(self, base, retries=5, retry_seconds=60.0):
        self._base, self._retries, self._retry_seconds = Path(base), retries, retry_seconds
        self._config, self._labels, self._versions, self._said = {}, {}, {}, {}
        self._changing = asyncio.Lock()
        # One thread for loading and freeing: each thread has memory of its own, which would never be given back whole.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")

    async def configure(self, config):
        """Serve what a `ModelServerConfig` lists, from now on; return when it is loaded.

        Raises:
            ServingError: The configuration is not valid, or a label names a version that is not available.
        """
        check_models(config)
        async with self._changing:
            self._config = {model.name: model for model in config.model_config_list.config}
            await self._follow_disk()
            self._assign_labels()

    async def reload(self, config):
        """Serve what a client asks for, as `configure`; only what lies in the base directory.

        Raises:
            ServingError: As `configure`; a folder lies elsewhere, or a model that is new did not become available.
        """
        check_models(config)
        await asyncio.to_thread(check_below, config, self._base)
        known = set(self._config)
        await self.configure(config)
        lacking = sorted(set(self._config) - known - set(self.names()))
        if lacking:
            reasons = (f"{{{name}{self._why(name)}}}" for name in lacking)
            message = f"{len(lacking)} model(s) did not become available: {{{', '.join(reasons)}}}"
            raise ServingError(StatusCode.UNKNOWN, message)

    async def refresh(self):
        """Look for new and removed versions on disk, load and unload them."""
        async with self._changing:
            if await self._follow_disk():
                with contextlib.suppress(ServingError):  # said when the label was given
                    self._assign_labels()

    def find(self, name, number=None, label=None):
        """Return an available version: the latest, that of a number, or that of a label.

        Raises:
            ServingError: There is none; the message is TF Serving's.
        """
        if not name:
            raise invalid("ModelSpec has no name specified.")
        if label:
            number = self._labels.get(name, {}).get(label)
            if number is None:
                raise invalid(f"Unrecognized servable version label: {label}")
        versions = self._versions.get(name, {})
        if number is None:
            available = [version for version in versions.values() if version.available]
            if not available:
                raise ServingError(StatusCode.NOT_FOUND, f"Servable not found for request: Latest({name})")
            return max(available, key=lambda version: version.number)
        version = versions.get(number)
        if version is None or not version.available:
            raise ServingError(StatusCode.NOT_FOUND, f"Servable not found for request: Specific({name}, {number})")
        return version

    @contextlib.contextmanager
    def use(self, name, number=None, label=None):
        """Hold a version, as `find`, so that it stays loaded meanwhile."""
        version = self.find(name, number, label)
        version.users += 1
        try:
            yield version
        finally:
            version.users -= 1
            if not version.users:
                version.unused.set()

    def status(self, name, number=None, label=None):
        """Return the versions of a model, newest first, whatever their state.

        Raises:
            ServingError: There is none.
        """
        if label:
            number = self.find(name, label=label).number
        versions = self._versions.get(name, {})
        if number is not None:
            if number not in versions:
                raise ServingError(StatusCode.NOT_FOUND, f"Could not find version {number} of model {name}")
            return [versions[number]]
        if not versions:
            raise ServingError(StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
        return [versions[number] for number in sorted(versions, reverse=True)]

    def names(self):
        """Return the names of models that have an available version, in order."""
        return sorted(name for name, versions in self._versions.items() if any(v.available for v in versions.values()))

    async def close(self):
        """Unload everything, as soon as nobody uses it."""
        async with self._changing:
            self._config, self._labels = {}, {}
            await self._follow_disk()

    def _aside(self, function, *arguments):
        return asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _follow_disk(self):
        wanted = {name: await self._wanted(model) for name, model in self._config.items()}
        changed = False
        for name, paths in wanted.items():
            for number, path in sorted((paths or {}).items()):
                stamp = await asyncio.to_thread(_stamp, path) if self._is_down(name, number) else None
                if stamp is not None and self._is_due(name, number, stamp):
                    await self._add(name, number, path, stamp)
                    changed = True
        for name, versions in list(self._versions.items()):
            paths = wanted.get(name, {})
            if paths is None:
                continue  # the folder cannot be read: keep what is loaded
            replaced = not paths or any(v.available and v.number in paths for v in versions.values())
            old = [v for v in versions.values() if v.available and v.number not in paths]
            for version in old if replaced else ():
                await self._remove(version)
                changed = True
            if name not in self._config:
                del self._versions[name]
        return changed

    async def _wanted(self, model):
        """`{number: folder}` that the model's policy asks for, or None if its folder cannot be read."""
        folder = folder_of(self._base, model)
        try:
            paths = await asyncio.to_thread(find_versions, folder)
        except OSError as error:
            self._say_once(model.name, f"Could not find base path {folder} for servable {model.name}: {error.strerror}")
            return None
        if not paths:
            self._say_once(
                model.name,
                f"No versions of servable {model.name} found under base path {folder}. "
                "Did you forget to name your leaf directory as a number (eg. '/1/')?",
            )
            return {}
        self._said.pop(model.name, None)
        found = {int(path.name): path for path in paths}
        return {number: found[number] for number in wanted_versions(model.model_version_policy, found)}

    def _is_down(self, name, number):
        version = self._versions.get(name, {}).get(number)
        return version is None or version.state == State.END

    def _is_due(self, name, number, stamp):
        """Whether to load a version that is down: one that failed, when a file has changed, or again after a time."""
        version = self._versions.get(name, {}).get(number)
        if version is None or version.error is None or version.stamp != stamp:
            return True
        return version.tries <= self._retries and time.monotonic() - version.ended >= self._retry_seconds

    async def _add(self, name, number, path, stamp):
        before = self._versions.setdefault(name, {}).get(number)
        tries = before.tries + 1 if before and before.error and before.stamp == stamp else 1
        version = Version(name, number, path, stamp, State.LOADING, tries=tries)
        self._versions[name][number] = version
        started = time.perf_counter()
        try:
            version.model = await self._aside(load_version, path)
        except Exception as error:  # whatever it is, the other models are served on
            message = str(error.args[0]) if error.args else repr(error)
            version.state, version.error = State.END, ServingError(StatusCode.UNKNOWN, message)
            version.ended = time.monotonic()
            _log.error("version failed to load", extra={"model": name, "version": number, "error": str(error)})
            return
        version.state = State.AVAILABLE
        seconds = round(time.perf_counter() - started, 3)
        _log.info("version loaded", extra={"model": name, "version": number, "seconds": seconds})

    async def _remove(self, version):
        version.state = State.UNLOADING
        while version.users:
            version.unused.clear()
            await version.unused.wait()
        model, version.model = version.model, None
        await self._aside(free_version, model)
        version.state = State.END
        _log.info("version unloaded", extra={"model": version.name, "version": version.number})
        ended = [v.number for v in self._versions[version.name].values() if v.state == State.END]
        for number in sorted(ended)[:-_KEPT]:
            del self._versions[version.name][number]

    def _why(self, name):
        errors = [version.error.message for version in self._versions.get(name, {}).values() if version.error]
        return f" due to error: {errors[-1]}" if errors else ": it has no version"

    def _assign_labels(self):
        labels = {}
        for name, model in self._config.items():
            for label, number in model.version_labels.items():
                version = self._versions.get(name, {}).get(number)
                if version is None or not version.available:
                    raise ServingError(
                        StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {name}, which is not currently "
                        "available for inference",
                    )
                labels.setdefault(name, {})[label] = number
        self._labels = labels

    def _say_once(self, name, message):
        if self._said.get(name) != message:
            self._said[name] = message
            _log.warning(message)


def _stamp(path):
    """What tells a folder from what it was: every file in it, since one may yet be copied into a folder below it."""
    found = []
    for folder, _, names in os.walk(path):
        for name in (".", *names):
            with contextlib.suppress(OSError):  # it goes while it is looked at
                one = os.stat(os.path.join(folder, name))
                found.append((folder, name, one.st_ino, one.st_size, one.st_mtime_ns))
    return tuple(sorted(found))
