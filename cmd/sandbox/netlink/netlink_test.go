package netlink_test

import (
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/netlink"
)

func TestLoopbackAddressComesAndGoes(t *testing.T) {
	if runtime.GOOS != "linux" || !netlink.CanChange() {
		t.Skip("needs root on Linux")
	}
	const address = "10.191.254.253"
	for range 2 { // what is so already is fine
		if err := netlink.AddLoopback(address); err != nil {
			if strings.Contains(err.Error(), "not permitted") {
				t.Skip(err)
			}
			t.Fatal(err)
		}
	}
	if l, err := net.Listen("tcp", address+":0"); err != nil { //nolint:noctx // closed at once
		t.Errorf("listen there: %v", err)
	} else {
		_ = l.Close()
	}
	for range 2 {
		if err := netlink.RemoveLoopback(address); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := net.Listen("tcp", address+":0"); err == nil { //nolint:noctx // closed at once
		_ = l.Close()
		t.Error("the address is still there")
	}
	if err := netlink.RemoveLink("no-such-link"); err != nil {
		t.Error(err)
	}
}
