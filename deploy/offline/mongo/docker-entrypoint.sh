#!/usr/bin/env bash
# Makes the first user at the first start, then becomes the server. Does what docker-compose.yml needs of the official
# image's entrypoint, under the same names.
set -euo pipefail

[ "${1:-}" = mongod ] || exec "$@"
[ "$(id -u)" != 0 ] || { echo "run this as user 999: it does not change users" >&2; exit 1; }
from_file() {
    local name=$1 file="${1}_FILE"
    [ -z "${!file:-}" ] || export "$name=$(<"${!file}")"
}
from_file MONGO_INITDB_ROOT_USERNAME
from_file MONGO_INITDB_ROOT_PASSWORD

if [ -n "${MONGO_INITDB_ROOT_USERNAME:-}" ]; then
    [ -n "${MONGO_INITDB_ROOT_PASSWORD:-}" ] || { echo "the first user needs a password: MONGO_INITDB_ROOT_PASSWORD" >&2; exit 1; }
    set -- "$@" --auth
    # The mark is set last, so a first start that was interrupted is done again.
    if [ ! -e /data/db/first-user-made ]; then
        # Only who is inside this container can reach a server that lets everyone in.
        mongod --dbpath /data/db --bind_ip 127.0.0.1 --port 27017 --quiet >/dev/null &
        server=$!
        first-user.py
        kill "$server"
        wait "$server"
        touch /data/db/first-user-made
    fi
fi
unset MONGO_INITDB_ROOT_USERNAME MONGO_INITDB_ROOT_PASSWORD
exec "$@"
