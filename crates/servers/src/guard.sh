# Runs a program that never outlives whoever holds the other end of this script's standard input.
#
# Arguments: the signal that stops the program gently; how long to wait then, in tenths of a second; the program and
# its arguments. Writes the program's process id to standard output and ends with the program's exit code.
# Everything the program says goes to standard error.
gently=$1
patience=$2
shift 2

exec 3<&0
"$@" </dev/null >&2 3<&- &
program=$!

# The watcher. Nothing is ever written to the pipe: `read` ends when its last holder is gone. It does its work also
# when the shell below got SIGKILL.
(
    exec >&- </dev/null 2>/dev/null
    read -r nothing <&3
    kill -s "$gently" "$program"
    while [ "$patience" -gt 0 ] && kill -s 0 "$program"; do
        sleep 0.1
        patience=$((patience - 1))
    done
    kill -s KILL "$program"
) &
watcher=$!
exec 3<&-

trap 'kill -s "$gently" "$program"' HUP INT TERM
echo "$program"
exec >&- </dev/null

# A trap interrupts `wait`, so ask again until the program is really gone.
while :; do
    wait "$program"
    code=$?
    kill -s 0 "$program" 2>/dev/null || break
done
# Whoever sees the guard gone finds nothing of it.
kill -s KILL "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$code"
