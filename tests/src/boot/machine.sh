#!/bin/bash
# Becomes PID 1 of a machine: systemd in namespaces of its own, over an overlay, on a pty. Nothing it mounts
# is seen outside, and everything in it ends with it.
# usage: machine.sh CGROUP LOWER DISK CONSOLE
set -euo pipefail
PATH=/usr/sbin:/usr/bin:/sbin:/bin
cgroup=$1 lower=$2 disk=$3 console=$4

if [ "${5-}" != inside ]; then
    # Before the namespaces, so that this cgroup is the root of the machine's own.
    echo $$ >"$cgroup/cgroup.procs"
    exec unshare --mount --propagation private --pid --fork --kill-child=KILL --ipc --uts --net --cgroup \
        /bin/bash "$0" "$@" inside
fi

# The pid by which the outside knows it: /proc is still the outside's.
read -r pid _ </proc/self/stat
root=$disk/root
mount -t overlay -o "lowerdir=$lower,upperdir=$disk/upper,workdir=$disk/work" overlay "$root"
cd "$root"

mount -t proc -o nosuid,nodev,noexec proc proc
# Settings of the kernel are everybody's; those of the network are this machine's own.
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup

mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=1777 tmpfs dev/shm
touch dev/console
mount --bind "$console" dev/console

mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
ip link set lo up

echo "$pid" >"$disk/pid.new"
mv "$disk/pid.new" "$disk/pid"
pivot_root . mnt
cd /
umount -l /mnt
# Mounts that systemd makes for a service's credentials reach the service only so.
mount --make-rshared /
exec env -i container=miosa PATH="$PATH" /lib/systemd/systemd --log-target=console --show-status=no \
    </dev/console >/dev/console 2>&1
