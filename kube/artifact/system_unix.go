//go:build unix

package artifact

import (
	"errors"
	"os"
	"syscall"
)

// free is how many bytes this user may still write in the file system of a folder.
func free(folder string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(folder, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // the types differ between systems
}

// lock takes a file for this process until it is closed, or refuses.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

func isQuota(err error) bool { return errors.Is(err, syscall.EDQUOT) }

// syncFolder makes a rename last. Some file systems refuse it; then it lasts by their own rules.
func syncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// ownerOf is the user and group that a file belongs to.
func ownerOf(st os.FileInfo) (uid, gid int64) {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return int64(s.Uid), int64(s.Gid)
	}
	return -1, -1
}
