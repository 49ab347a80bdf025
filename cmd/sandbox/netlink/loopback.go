package netlink

import (
	"fmt"
	"net"
	"net/netip"
)

// LoopbackIn lists the addresses of this machine itself, not of a network it is in, that lie in a network.
func LoopbackIn(network netip.Prefix) ([]string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var in []string
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.IsSingleIP() && network.Contains(p.Addr()) {
			in = append(in, p.Addr().String())
		}
	}
	return in, nil
}
