// Package netlink is the room for the machine's network: it puts addresses on the loopback interface
// and removes interfaces, by asking the kernel itself, since a small system has no ip(8).
package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// CanChange reports whether this user may change the network.
func CanChange() bool { return os.Geteuid() == 0 }

// AddLoopback puts an address on the loopback interface; one that is there already is fine.
func AddLoopback(address string) error {
	err := loopback(syscall.RTM_NEWADDR, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL, address)
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

// RemoveLoopback takes an address off the loopback interface; one that is not there is fine.
func RemoveLoopback(address string) error {
	err := loopback(syscall.RTM_DELADDR, 0, address)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return nil
	}
	return err
}

func loopback(kind, flags uint16, address string) error {
	addr, err := netip.ParseAddr(address)
	if err != nil || !addr.Is4() {
		return fmt.Errorf("address %q on the loopback interface: not an IPv4 address", address)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	raw := addr.As4()
	msg := []byte{syscall.AF_INET, 32, 0, syscall.RT_SCOPE_HOST} // struct ifaddrmsg
	msg = binary.NativeEndian.AppendUint32(msg, uint32(lo.Index))
	for _, attr := range []uint16{syscall.IFA_LOCAL, syscall.IFA_ADDRESS} {
		msg = binary.NativeEndian.AppendUint16(msg, 8)
		msg = binary.NativeEndian.AppendUint16(msg, attr)
		msg = append(msg, raw[:]...)
	}
	if err := request(kind, flags, msg); err != nil {
		return fmt.Errorf("address %s on the loopback interface: %w", address, err)
	}
	return nil
}

// RemoveLink removes a network interface; one that is not there is fine.
func RemoveLink(name string) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil //nolint:nilerr // it is not there
	}
	msg := make([]byte, syscall.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(msg[4:], uint32(link.Index))
	if err := request(syscall.RTM_DELLINK, 0, msg); err != nil {
		return fmt.Errorf("remove network interface %s: %w", name, err)
	}
	return nil
}

// request sends one message to the kernel and waits for its answer.
func request(kind, flags uint16, body []byte) error {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(fd) }()
	msg := binary.NativeEndian.AppendUint32(nil, uint32(syscall.NLMSG_HDRLEN+len(body)))
	msg = binary.NativeEndian.AppendUint16(msg, kind)
	msg = binary.NativeEndian.AppendUint16(msg, flags|syscall.NLM_F_REQUEST|syscall.NLM_F_ACK)
	msg = binary.NativeEndian.AppendUint32(msg, 1) // sequence
	msg = binary.NativeEndian.AppendUint32(msg, 0) // the kernel fills in who we are
	if err := syscall.Sendto(fd, append(msg, body...), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	answers, err := syscall.ParseNetlinkMessage(buf[:n])
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Header.Type != syscall.NLMSG_ERROR || len(a.Data) < 4 {
			continue
		}
		if errno := int32(binary.NativeEndian.Uint32(a.Data)); errno != 0 {
			return syscall.Errno(-errno)
		}
		return nil
	}
	return errors.New("the kernel did not answer")
}
