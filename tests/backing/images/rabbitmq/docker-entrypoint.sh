#!/bin/bash
# As in the official image: what is mounted is made the server's, which does not run as root.
set -e
if [ "$(id -u)" = 0 ]; then
  find /var/lib/rabbitmq ! -user rabbitmq -exec chown rabbitmq {} +
  exec gosu rabbitmq "$@"
fi
exec "$@"
