"""All knowledge of OpenSSH, and none of pools."""
