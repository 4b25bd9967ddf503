#!/usr/bin/env bash
# Makes the cluster at the first start, then becomes the server. Does what docker-compose.yml needs of the official image's
# entrypoint, under the same names, and refuses what it does not do rather than leave it out silently.
set -euo pipefail

[ "${1:-}" = postgres ] || exec "$@"
[ "$(id -u)" != 0 ] || { echo "run this as user 999: it does not change users" >&2; exit 1; }
for unknown in POSTGRES_DB POSTGRES_INITDB_WALDIR; do
    [ -z "${!unknown:-}" ] || { echo "$unknown is not known to this image" >&2; exit 1; }
done

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Another release keeps its data beside ours, or did in the volume itself; an empty cluster in its place would surprise.
    for other in /var/lib/postgresql /var/lib/postgresql/data /var/lib/postgresql/*/docker; do
        [ ! -s "$other/PG_VERSION" ] ||
            { echo "there appears to be PostgreSQL data in: $other (release $(<"$other/PG_VERSION"))" >&2; exit 1; }
    done
    password=${POSTGRES_PASSWORD:-}
    [ -z "${POSTGRES_PASSWORD_FILE:-}" ] || password=$(<"$POSTGRES_PASSWORD_FILE")
    method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    [ -n "$password" ] || [ "$method" = trust ] || { echo "the superuser needs a password: POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" >&2; exit 1; }
    # Made elsewhere on the same volume and renamed, so it is whole or not there.
    new=$PGDATA.new
    mkdir -p "$(dirname "$PGDATA")"
    rm -rf "$new"
    # The arguments are words, as for the official image.
    # shellcheck disable=SC2086
    initdb --username="${POSTGRES_USER:-postgres}" --pwfile=<(printf '%s\n' "${password:-none}") ${POSTGRES_INITDB_ARGS:-} --pgdata "$new"
    printf '\nhost all all all %s\n' "$method" >>"$new/pg_hba.conf"
    printf "\n%s\n" "listen_addresses = '*'" "unix_socket_directories = '/var/run/postgresql'" >>"$new/postgresql.conf"
    [ ! -d "$PGDATA" ] || rmdir "$PGDATA"
    mv "$new" "$PGDATA"
fi
unset POSTGRES_PASSWORD
exec "$@"
