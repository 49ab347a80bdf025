package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// canAddAddress reports whether this user may put an address on the loopback interface.
func canAddAddress() bool {
	_, err := exec.LookPath("ip")
	return err == nil && os.Geteuid() == 0
}

// addAddress puts the sandbox's own address on the loopback interface.
func addAddress(ctx context.Context, address string) error {
	return ip(ctx, "File exists", "address", "add", address+"/32", "dev", "lo")
}

func removeAddress(ctx context.Context, address string) error {
	return ip(ctx, "Cannot assign requested address", "address", "del", address+"/32", "dev", "lo")
}

// ip runs ip(8); an error that says the thing is so already is none.
func ip(ctx context.Context, already string, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), already) && !strings.Contains(string(out), "already assigned") {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
