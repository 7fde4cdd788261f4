"""Files over there, by the SFTP protocol: version 3, and OpenSSH's extensions."""
