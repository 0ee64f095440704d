#!/bin/bash
# cert.sh DIR NAME SUBJECT [EXTENSION…] : one more key and certificate, NAME.key and NAME.crt, signed by the CA in DIR.
# Several at once are fine: there is no file of serial numbers.
set -euo pipefail
cd "$1"; name=$2; subject=$3; shift 3
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$name.key" 2>/dev/null
openssl req -new -key "$name.key" -subj "$subject" |
  openssl x509 -req -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 30 -extfile <(printf '%s\n' "$@") -out "$name.crt" 2>/dev/null
