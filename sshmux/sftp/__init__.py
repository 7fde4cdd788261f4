"""Files on the remote, by the SFTP protocol: version 3, and OpenSSH's extensions."""
