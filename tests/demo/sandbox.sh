#!/bin/bash
# PID 1 of a new pid and mount namespace: makes a root file system of the machine's own programs,
# mounts the resource's folder read-only at /run/miosa, and becomes miosa-exec.
# usage: sandbox.sh ROOT RESOURCE_DIR MIOSA_EXEC AGENT
set -euo pipefail
root=$1 resource=$2 shim=$3 agent=$4
PATH=/usr/sbin:/usr/bin:/sbin:/bin

mkdir -p "$root"
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir -p "$root"/{opt/bin,workspace,run/miosa,proc,dev,tmp}
for folder in bin etc lib lib64 sbin usr; do
    if [ -L "/$folder" ]; then
        cp -P "/$folder" "$root/$folder"
    elif [ -d "/$folder" ]; then
        mkdir "$root/$folder"
        mount --rbind "/$folder" "$root/$folder"
    fi
done
for device in null zero urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
cp "$shim" "$root/opt/bin/miosa-exec"
cp "$agent" "$root/opt/bin/claude"
mount -t proc proc "$root/proc"

# The folder, not the socket: a restarted daemon makes a new socket, and the mount must show it.
mount --bind "$resource" "$root/run/miosa"
mount -o remount,bind,ro,nosuid,nodev,noexec "$root/run/miosa"

export PATH=/opt/bin:/usr/local/bin:/usr/bin:/bin
exec /usr/sbin/chroot "$root" /opt/bin/miosa-exec
