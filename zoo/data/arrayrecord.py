"""ArrayRecord files, through the package `array_record`: https://github.com/google/array_record."""


class ArrayRecordFile:
    """The records of one file, read one at a time, by the index that the file itself brings.

    Args:
        path: `Path` of the file.

    Raises:
        ModuleNotFoundError: If the package is not installed.
        ValueError: If the file is truncated, damaged or of another kind; the message names it.
    """

    def __init__(self, path):
        """Opens the file and reads its index."""
        try:
            from array_record.python.array_record_module import ArrayRecordReader
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{path} is an ArrayRecord file, and the package array-record that reads it is not installed. "
                'Install the extra: pip install "zoo-models[records]" (here: pip install -e ".[records]").'
            ) from error
        self.path = path
        # Rows are read in any order, so what comes next in the file is not what is read next.
        self._reader = ArrayRecordReader(str(path), "readahead_buffer_size:0")
        if not self._reader.ok():
            try:
                self._reader.close()
                reason = "no reason was given"
            except RuntimeError as error:
                reason = str(error)
            raise ValueError(
                f"The file {path} is truncated, damaged or no ArrayRecord file: {reason}. Fetch or write it again."
            )

    def __len__(self):
        """Number of records."""
        return self._reader.num_records()

    def read(self, number):
        """The data of record `number` as bytes, checked by the hash of its chunk.

        Raises:
            ValueError: If they are damaged; the message names file and record.
        """
        try:
            return self._reader.read([int(number)])[0]
        except RuntimeError as error:
            raise ValueError(
                f"Record {number} of {self.path} is damaged: {error}. Fetch or write the file again."
            ) from error
