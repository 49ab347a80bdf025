//go:build !linux

package node

func mayLowerOOMScore() bool { return false }

func mayUnshare() bool { return false }

func unmount(string) error { return nil }
