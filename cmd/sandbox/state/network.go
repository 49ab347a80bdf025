package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Loopback is where every server of a sandbox listens.
const Loopback = "127.0.0.1"

// FreePorts finds a free port for each name. They lie below the range from which the system takes
// the ports of outgoing connections, so that no client takes one of them meanwhile.
func FreePorts(names ...string) (map[string]int, error) {
	ports := make(map[string]int, len(names))
	taken := map[int]bool{}
	for _, name := range names {
		for range 1000 {
			port := 20000 + rand.IntN(12000)
			if taken[port] {
				continue
			}
			l, err := net.Listen("tcp", net.JoinHostPort(Loopback, fmt.Sprint(port))) //nolint:noctx // bound and freed at once
			if err != nil {
				continue
			}
			_ = l.Close()
			taken[port], ports[name] = true, port
			break
		}
		if ports[name] == 0 {
			return nil, errors.New("no free port between 20000 and 32000 on " + Loopback)
		}
	}
	return ports, nil
}

// Networks picks a /24 for services and one for pods that no address of this machine lies in and no
// route of it leads to. The seed makes one sandbox prefer the same ones again.
func Networks(seed uint64, used []netip.Prefix) (services, pods netip.Prefix, err error) {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // not a secret
	for range 1000 {
		b := byte(r.IntN(256))
		services = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(160 + r.IntN(32)), b, 0}), 24)
		pods = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(192 + r.IntN(32)), b, 0}), 24)
		if !overlaps(used, services) && !overlaps(used, pods) {
			return services, pods, nil
		}
	}
	return netip.Prefix{}, netip.Prefix{}, errors.New("no free /24 network in 10.160.0.0/11 and 10.192.0.0/11")
}

func overlaps(used []netip.Prefix, p netip.Prefix) bool {
	for _, u := range used {
		if u.Bits() > 8 && u.Overlaps(p) { // a route for all of 10/8 or for everything says nothing about this /24
			return true
		}
	}
	return false
}

// UsedNetworks lists the networks that this machine has addresses in or routes to, and its name servers.
func UsedNetworks() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var used []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			used = append(used, p.Masked())
		}
	}
	if routes, err := os.ReadFile("/proc/net/route"); err == nil {
		used = append(used, parseRoutes(string(routes))...)
	}
	for _, ns := range Nameservers() {
		used = append(used, netip.PrefixFrom(ns, 32))
	}
	return used, nil
}

// parseRoutes reads Linux' table of routes: addresses and masks are hexadecimal, the last byte first.
func parseRoutes(table string) []netip.Prefix {
	var routes []netip.Prefix
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			continue
		}
		dest, err1 := strconv.ParseUint(fields[1], 16, 32)
		mask, err2 := strconv.ParseUint(fields[7], 16, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], uint32(dest))
		routes = append(routes, netip.PrefixFrom(netip.AddrFrom4(b), bits.OnesCount64(mask)))
	}
	return routes
}

// ResolvConf is the file that names the servers that this machine really asks: where systemd-resolved
// runs, /etc/resolv.conf names only that one, and only on the loopback interface.
func ResolvConf() string {
	const resolved = "/run/systemd/resolve/resolv.conf"
	if _, err := os.Stat(resolved); err == nil {
		return resolved
	}
	return "/etc/resolv.conf"
}

// Nameservers lists the IPv4 name servers of this machine that a pod can reach too.
func Nameservers() []netip.Addr {
	data, err := os.ReadFile(ResolvConf())
	if err != nil {
		return nil
	}
	var servers []netip.Addr
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil && addr.Is4() && !addr.IsLoopback() {
			servers = append(servers, addr)
		}
	}
	return servers
}
