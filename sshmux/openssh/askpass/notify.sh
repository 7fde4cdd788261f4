#!/bin/sh
# ssh runs $SSH_ASKPASS to announce that a FIDO key waits to be touched, since its stderr is no
# terminal (readpass.c: notify_start). This says so on the terminal, where the askpass listens.
# It is never run to ask for anything: SSH_ASKPASS_REQUIRE=never.
printf '%s\n' "$1" >/dev/tty
