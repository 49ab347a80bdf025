//go:build !linux

package cluster

import "context"

func canAddAddress() bool { return false }

func addAddress(context.Context, string) error { return nil }

func removeAddress(context.Context, string) error { return nil }
