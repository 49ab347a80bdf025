package cluster

import (
	"os"
	"runtime"
)

// CanHaveRealNode reports whether this machine and this user can have a node that runs containers.
func CanHaveRealNode() bool { return runtime.GOOS == "linux" && os.Geteuid() == 0 }
