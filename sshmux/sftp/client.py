"""SFTPClient: the remote files, in the shape of asyncssh's client of that name."""

from __future__ import annotations

from ..system.contexts import OwnContext
from .attrs import SFTPLimits
from .directory_methods import DirectoryMethods
from .file_methods import FileMethods
from .messages import VERSION
from .operations import COPY_DATA
from .transfer_methods import TransferMethods


class SFTPClient(DirectoryMethods, FileMethods, TransferMethods, OwnContext):
    """Files on the remote. Made by `Connection.start_sftp_client`.

    Paths are str, bytes or pathlib's; what is given back is str, or bytes for a path in bytes.
    Relative ones are in the directory that `chdir` was last called with, else in the home.
    """

    def __repr__(self) -> str:
        return f"<SFTPClient of {self._session.address} {self._session.state}>"

    # What the server is

    @property
    def version(self) -> int:
        """The version of the protocol in use."""
        return VERSION

    @property
    def limits(self) -> SFTPLimits:
        """The largest that the server takes.

        It tells them in answer to the first thing that is asked: before, they are what every server
        takes.
        """
        return self._server.limits

    @property
    def supports_remote_copy(self) -> bool:
        """Whether the server can copy a file by itself (OpenSSH 9.0 and later)."""
        return self._server.has(COPY_DATA)

    @property
    def extensions(self) -> dict[str, str]:
        """The protocol's extensions that the server has, with their versions."""
        known = self._server.extensions.items()
        return {
            name.decode("utf-8", "replace"): text.decode("utf-8", "replace") for name, text in known
        }

    # Its end

    def exit(self) -> None:
        """Ends the session. What was asked for before is still answered."""
        self._session.close()

    async def wait_closed(self) -> None:
        """Waits until nothing of the session is left."""
        await self._session.wait_closed()

    async def _leave(self, error: BaseException | None) -> None:
        self.exit()
        await self.wait_closed()

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is not None:
            session.dropped()
