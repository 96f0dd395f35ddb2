#!/bin/bash
# What the official images' entry points do with MYSQL_ROOT_PASSWORD, MYSQL_DATABASE, MYSQL_USER and MYSQL_PASSWORD. That
# of mysql refuses a folder which is not empty, lost+found included; so does this one.
set -eo pipefail

if [ "${1:0:1}" = - ]; then set -- mariadbd "$@"; fi
[ "$1" = mariadbd ] || exec "$@"
data=/var/lib/mysql
if [ "$(id -u)" = 0 ]; then
  find "$data" /run/mysqld ! -user mysql -exec chown mysql {} +
  exec gosu mysql "$0" "$@"
fi
[ ! -d "$data/mysql" ] || exec "$@"

if [ -z "$MYSQL_ROOT_PASSWORD" ]; then
  echo "[ERROR] Database is uninitialized and MYSQL_ROOT_PASSWORD is not set" >&2
  exit 1
fi
if [ -n "$(ls -A "$data")" ]; then
  echo "[ERROR] --initialize specified but the data directory has files in it. Aborting." >&2
  exit 1
fi
quoted() { local text=${1//\\/\\\\}; printf "'%s'" "${text//\'/\\\'}"; }
name() { printf '`%s`' "${1//\`/\`\`}"; }

mariadb-install-db --datadir="$data" --skip-test-db --auth-root-authentication-method=normal >/dev/null
# The first server, which nobody from outside can see, sets up what clients need.
"$@" --skip-networking &
server=$!
until mariadb-admin --silent ping >/dev/null 2>&1; do
  kill -0 "$server"
  sleep 0.1
done
{
  echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $(quoted "$MYSQL_ROOT_PASSWORD");"
  echo "CREATE USER 'root'@'%' IDENTIFIED BY $(quoted "$MYSQL_ROOT_PASSWORD");"
  echo "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"
  [ -z "$MYSQL_DATABASE" ] || echo "CREATE DATABASE IF NOT EXISTS $(name "$MYSQL_DATABASE");"
  if [ -n "$MYSQL_USER" ]; then
    echo "CREATE USER $(quoted "$MYSQL_USER")@'%' IDENTIFIED BY $(quoted "$MYSQL_PASSWORD");"
    [ -z "$MYSQL_DATABASE" ] || echo "GRANT ALL ON $(name "$MYSQL_DATABASE").* TO $(quoted "$MYSQL_USER")@'%';"
  fi
} | mariadb --user=root mysql
kill "$server"
wait "$server" || true
echo "init process done; ready for start up."
exec "$@"
