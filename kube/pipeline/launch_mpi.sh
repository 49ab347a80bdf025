# Runs around the command of an MPI stage: every rank serves ssh, rank 0 waits for all of them and runs the command.
set -eu
d=/dev/shm/ml-mpi
ssh=`command -v ssh` || { echo "framework mpi: the image has no command ssh (openssh-client)" >&2; exit 127; }
sshd=`PATH=$PATH:/usr/sbin:/usr/local/sbin command -v sshd` || { echo "framework mpi: the image has no sshd (openssh-server)" >&2; exit 127; }
mkdir -p $d/bin
mkdir -p /run/sshd 2>/dev/null || true
umask 077
cp /ml/ssh/key $d/key
cp /ml/ssh/key.pub $d/authorized_keys
# One key for all: whoever has it is a rank of this run.
echo "* `cat /ml/ssh/key.pub`" >$d/known_hosts
sed 's/ slots=/:/' /ml/hostfile >$d/machinefile
cat >$d/ssh_config <<EOF
Port 2222
IdentityFile $d/key
IdentitiesOnly yes
UserKnownHostsFile $d/known_hosts
StrictHostKeyChecking yes
BatchMode yes
ConnectTimeout 5
LogLevel ERROR
EOF
# Processes on other ranks get the environment and the folder of their own container, which sshd would not give them.
cat >$d/sshd_config <<EOF
Port 2222
HostKey $d/key
AuthorizedKeysFile $d/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PrintMotd no
LogLevel ERROR
ForceCommand . $d/env; cd "\$PWD"; eval "\$SSH_ORIGINAL_COMMAND"
EOF
printf '#!/bin/sh\nexec %s -F %s/ssh_config "$@"\n' "$ssh" $d >$d/bin/ssh
chmod 700 $d/bin/ssh
# By the name that it has on every rank: mpirun starts processes where it was started, and /ml/src is a link.
case $PWD in /ml/..*/src*) cd "/ml/src${PWD#/ml/..*/src}" ;; esac
export PATH=$d/bin:$PATH PWD
export -p >$d/env
if [ "$NODE_RANK" != 0 ]; then
  exec "$sshd" -D -e -f $d/sshd_config
fi
"$sshd" -D -e -f $d/sshd_config &
while read -r host slots; do
  until why=`ssh -n "$host" true 2>&1`; do
    echo "framework mpi: waits for $host: $why" >&2
    sleep 1
  done
done </ml/hostfile
exec "$@"
