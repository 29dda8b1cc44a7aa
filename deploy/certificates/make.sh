#!/bin/sh
# make.sh FOLDER NAME...: a certificate authority of one's own and one certificate per NAME, for both sides of mutual TLS.
#
# NAME is how peers dial the process (a host name or an IP address); localhost and 127.0.0.1 are always added. Leaves
# FOLDER/ca.pem, FOLDER/NAME.pem and FOLDER/NAME.key; what is there already is kept, so it may run at every start. The key of the
# authority (ca.key) is needed only to add names later: keep it off the machines that train.
set -eu
[ $# -ge 2 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
folder=$1
shift
umask 077
mkdir -p "$folder"
cd "$folder"
[ -e ca.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=isthmus authority" \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.pem 2>/dev/null
for name; do
  [ -e "$name.pem" ] && continue
  case $name in
    *[!0-9.]*) alternative=DNS:$name ;;
    *) alternative=IP:$name ;;
  esac
  extensions=$(mktemp)
  printf 'subjectAltName=%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature\n' \
    "$alternative" >"$extensions"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" 2>/dev/null
  openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 -extfile "$extensions" -out "$name.pem" 2>/dev/null
  rm -f "$extensions" "$name.csr"
  echo "certificate of $name: $folder/$name.pem"
done
