#!/bin/bash
# make.sh: makes the certificates of the tests anew. They are kept, because they must be the same everywhere and one must have expired.
# All have one key, the CA too, except the two CAs that have signed none of them.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# sign FILE SUBJECT KEY FROM UNTIL CA-OPTIONS… ; extensions from stdin
sign() {
  local file=$1 subject=$2 key=$3 from=$4 until=$5
  shift 5
  rm -f "$work"/index* "$work"/serial*
  : >"$work/index"
  openssl req -new -key "$key" -subj "$subject" -out "$work/request" 2>/dev/null
  cat >"$work/extensions"
  printf '[ca]\ndefault_ca=it\n[it]\ndatabase=%s/index\nnew_certs_dir=%s\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n' \
    "$work" "$work" >"$work/config"
  openssl ca -batch -notext -config "$work/config" -in "$work/request" -out "$file" -startdate "$from" -enddate "$until" \
    -extfile "$work/extensions" "$@" 2>/dev/null
}

LONG="20200101000000Z 21200101000000Z"
key key.pem
key "$work/other.key"
ca="basicConstraints=critical,CA:TRUE"
server=$'basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:shop.example,IP:127.0.0.1'
by_ca="-cert ca.pem -keyfile key.pem"
sign ca.pem "/CN=Test CA" key.pem $LONG -selfsign -keyfile key.pem <<<"$ca"
sign same-name-ca.pem "/CN=Test CA" "$work/other.key" $LONG -selfsign -keyfile "$work/other.key" <<<"$ca"
sign other-ca.pem "/CN=Another CA" "$work/other.key" $LONG -selfsign -keyfile "$work/other.key" <<<"$ca"
sign valid.pem "/CN=shop.example" key.pem $LONG $by_ca <<<"$server"
sign expired.pem "/CN=shop.example" key.pem 20200101000000Z 20210101000000Z $by_ca <<<"$server"
