#!/bin/bash
# certs.sh DIR SAN[,SAN…] : CA, API server certificate and service-account key.
# ECDSA: made and used in a fraction of RSA's time, which counts on emulated nodes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key 2>/dev/null
openssl req -x509 -new -key ca.key -subj /CN=lab-ca -days 30 -out ca.crt \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
bash "$here/cert.sh" . server /CN=kube-apiserver "subjectAltName=$2" extendedKeyUsage=serverAuth
bash "$here/cert.sh" . accounts /CN=service-accounts
