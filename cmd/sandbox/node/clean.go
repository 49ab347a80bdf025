package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/netlink"
)

// StopPods ends every pod and takes its network down, while containerd still runs and the kubelet
// does not.
func StopPods(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	defer func() { _ = conn.Close() }()
	client := cri.NewRuntimeServiceClient(conn)
	containers, err := client.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var errs []error
	for _, c := range containers.Containers {
		if _, err := client.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: c.Id}); err != nil { // no grace time: at once
			errs = append(errs, fmt.Errorf("stop container: %w", err))
		}
	}
	pods, err := client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for _, p := range pods.Items {
		if _, err := client.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.Id}); err != nil {
			errs = append(errs, fmt.Errorf("stop pod: %w", err))
		}
		if _, err := client.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.Id}); err != nil {
			errs = append(errs, fmt.Errorf("remove pod: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Clean removes what the node left on the machine, once all its programs have ended.
func (s Settings) Clean(ctx context.Context) error {
	if err := removeCgroup(s.cgroup()); err != nil {
		return err
	}
	for _, root := range []string{string(s.Dir), s.Dir.Runtime()} {
		if err := unmountUnder(root); err != nil {
			return err
		}
	}
	s.closeFirewall(ctx)
	if err := netlink.RemoveLink(s.bridge()); err != nil {
		return err
	}
	if err := os.RemoveAll(s.Dir.Runtime()); err != nil {
		return fmt.Errorf("remove the node's runtime folder: %w", err)
	}
	if others, _ := filepath.Glob("/run/kubectl-ml-*"); len(others) == 0 {
		restoreSysctls()
		for _, dir := range mountPoints() {
			_ = os.Remove(dir) // unless somebody keeps files there
		}
		for _, dir := range []string{"/run/containerd/s", "/run/containerd"} { // the sockets of shims
			_ = os.Remove(dir)
		}
	}
	return nil
}

// unmountUnder unmounts what is mounted in a folder, the newest first.
func unmountUnder(root string) error {
	mounts, err := mountsUnder(root)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if err := unmount(m); err != nil {
			return fmt.Errorf("unmount %s: %w", m, err)
		}
	}
	return nil
}

func mountsUnder(root string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer func() { _ = f.Close() }()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var found []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			if path := unescape.Replace(fields[4]); strings.HasPrefix(path, root+"/") {
				found = append(found, path)
			}
		}
	}
	return found, nil
}
