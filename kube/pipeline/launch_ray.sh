# Runs around the command of a Ray stage: rank 0 is the head and runs it, the others are its workers.
command -v ray >/dev/null || { echo "framework ray: the image has no command ray" >&2; exit 127; }
if [ "$NODE_RANK" = 0 ]; then
  ray start --head --port="$MASTER_PORT" --disable-usage-stats || exit
  RAY_ADDRESS=auto exec "$@"
fi
# As process 1, sh would not hear that it is to end.
trap 'kill $! 2>/dev/null; exit 143' TERM
until ray start --address="$MASTER_ADDR:$MASTER_PORT" --disable-usage-stats --block & wait $!; do
  echo "framework ray: the head at $MASTER_ADDR is not there, trying again" >&2
  sleep 2 & wait $!
done
