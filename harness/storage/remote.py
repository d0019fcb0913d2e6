"""A folder outside this machine, by its URI: a bucket of S3, Google or Azure, or a folder that machines share.

Through `pyarrow.fs`, which reads credentials as each provider's own tools do: from the environment, its files or the
machine's role.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

from pyarrow import ArrowException, fs

from harness.errors import UsageError
from harness.storage.disk import is_temp, temp_name

_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "file")
_SECRETS = ("client_secret", "access_key", "secret_key", "session_token", "sas_token", "account_key")

_GOOGLE = ("retry_limit_seconds", "30")
_OPTIONS = {"s3": ("allow_delayed_open", "true"), "gs": _GOOGLE, "gcs": _GOOGLE}
"""Options for pyarrow by scheme, unless the URI says otherwise.

S3 gets small files in one request each, in place of three. Google's client would try for 15 minutes where there are no
credentials or the name does not resolve.
"""


class RemoteFolder:
    """Files below a URI by their path with `/`. Every call blocks on the network.

    A file appears whole: object stores publish it when it is closed, and a shared folder gets it by a rename.
    """

    def __init__(self, uri: str) -> None:
        """Open the folder of a URI; UsageError for another URI, or one with a secret in it. Reads nothing."""
        check_uri(uri)
        self.uri = uri
        with self._errors("open"):
            self._files, root = fs.FileSystem.from_uri(_with_option(uri))
        self._root = PurePosixPath(root)
        self._is_local = self._files.type_name == "local"

    def list_sizes(self, folder: str) -> dict[str, int]:
        """Return the lengths in bytes of all files below a folder, by path; none where it is not there."""
        below = fs.FileSelector(str(self._root / folder), recursive=True, allow_not_found=True)
        with self._errors("list"):
            found = self._files.get_file_info(below)
        files = [one for one in found if one.type == fs.FileType.File and not is_temp(one.base_name)]
        return {str(PurePosixPath(one.path).relative_to(self._root)): one.size for one in files}

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""
        path = str(self._root / name)
        with self._errors("read"):
            if self._files.get_file_info(path).type != fs.FileType.File:
                return None
            with self._files.open_input_stream(path) as stream:
                return bytes(stream.read())

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole, replacing one of that name."""
        path = self._root / name
        target = temp_name(Path(path)) if self._is_local else path
        with self._errors("write"):
            if self._is_local:
                self._files.create_dir(str(path.parent), recursive=True)
            with self._files.open_output_stream(str(target)) as stream:
                stream.write(data)
            if target != path:
                self._files.move(str(target), str(path))

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with self._errors("remove"), contextlib.suppress(FileNotFoundError):
            self._files.delete_file(str(self._root / name))

    @contextlib.contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, ArrowException) as error:
            reason = " ".join(str(error).split())[:300]
            raise UsageError(
                f"cannot {verb} {self.uri} ({reason}); expected a bucket or folder that this machine may read and "
                "write, with the provider's usual credentials in the environment"
            ) from None


def check_uri(uri: str) -> None:
    """Raise UsageError for a URI of another kind, and for one with a secret, which a cluster's dashboard would show."""
    parts = urlsplit(uri)
    if not uri.startswith("/") and (parts.scheme not in _SCHEMES or not (parts.netloc or parts.path)):
        raise UsageError(
            f'--storage is "{uri}"; expected s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, '
            "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER, or the absolute path of a folder that machines share"
        )
    names = [name.lower() for name in parse_qs(parts.query)]
    if parts.password or (parts.username and parts.scheme == "s3") or any(name in _SECRETS for name in names):
        raise UsageError(
            f"--storage {parts.scheme}://... holds a secret, which the cluster's dashboard would show; "
            "set it in the environment of the cluster's head and of this machine"
        )


def _with_option(uri: str) -> str:
    """Return a URI with the option for its scheme."""
    name, value = _OPTIONS.get(urlsplit(uri).scheme, ("", ""))
    if not name or name in parse_qs(urlsplit(uri).query):
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}{name}={value}"
