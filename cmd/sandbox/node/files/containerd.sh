mount --bind "$1/log" /var/log
mount --bind "$1/kubelet" /var/lib/kubelet
mount --make-shared /var/lib/kubelet
mount --bind "$1/cni-cache" /var/lib/cni
exec containerd --config "$2"
