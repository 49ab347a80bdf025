package supervisor

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/netlink"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// services carries TCP connections from the addresses of Services to their pods, as kube-proxy would;
// that one keeps its rules under names that two clusters on one machine would fight for. An address is
// on the loopback interface as long as it leads somewhere.
type services struct {
	network netip.Prefix // of Services
	own     netip.Addr   // the sandbox's address in it, which others serve
	pods    netip.Prefix // of the real node: others cannot be reached
	log     io.Writer

	mu   sync.Mutex
	to   map[netip.AddrPort][]string
	open map[netip.AddrPort]io.Closer
}

func newServices(c state.Config, log io.Writer) (*services, error) {
	network, err := netip.ParsePrefix(c.ServiceCIDR)
	if err != nil {
		return nil, fmt.Errorf("network of services: %w", err)
	}
	own, err := netip.ParseAddr(c.Address)
	if err != nil {
		return nil, fmt.Errorf("the sandbox's address: %w", err)
	}
	pods, err := netip.ParsePrefix(c.PodCIDR)
	if err != nil {
		return nil, fmt.Errorf("network of pods: %w", err)
	}
	return &services{network: network, own: own, pods: pods, log: log, open: map[netip.AddrPort]io.Closer{}}, nil
}

// run follows Services and their endpoints until ctx ends.
func (s *services) run(ctx context.Context, client dynamic.Interface) error {
	changed := make(chan struct{}, 1)
	signal := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	follow := func(tweak func(*metav1.ListOptions)) dynamicinformer.DynamicSharedInformerFactory {
		return dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, metav1.NamespaceAll, tweak)
	}
	lists := []cache.SharedIndexInformer{
		follow(func(o *metav1.ListOptions) { o.FieldSelector = "spec.clusterIP!=None" }).
			ForResource(corev1.SchemeGroupVersion.WithResource("services")).Informer(),
		follow(func(o *metav1.ListOptions) {
			o.LabelSelector = discoveryv1.LabelServiceName + ",!" + corev1.IsHeadlessService
		}).
			ForResource(discoveryv1.SchemeGroupVersion.WithResource("endpointslices")).Informer(),
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, list := range lists {
		_, err := list.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { signal() }, UpdateFunc: func(any, any) { signal() }, DeleteFunc: func(any) { signal() },
		})
		if err != nil {
			return err
		}
		wg.Go(func() { list.RunWithContext(ctx) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), lists[0].HasSynced, lists[1].HasSynced) {
		return ctx.Err()
	}
	defer s.change(ctx, nil)
	for {
		to := targets(typed[corev1.Service](lists[0]), typed[discoveryv1.EndpointSlice](lists[1]), s.reaches)
		s.change(ctx, to)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (s *services) reaches(pod netip.Addr) bool { return s.pods.Contains(pod) || pod == s.own }

func typed[T any](list cache.SharedIndexInformer) []T {
	var objects []T
	for _, item := range list.GetStore().List() {
		var obj T
		u, ok := item.(*unstructured.Unstructured)
		if ok && runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &obj) == nil {
			objects = append(objects, obj)
		}
	}
	return objects
}

// targets says which address and port of a Service leads to which pods' ports: those that are ready and
// in reach.
func targets(list []corev1.Service, endpoints []discoveryv1.EndpointSlice, reaches func(netip.Addr) bool) map[netip.AddrPort][]string {
	type port struct{ namespace, service, name string }
	ready := map[port][]string{}
	for _, slice := range endpoints {
		for _, p := range slice.Ports {
			if p.Port == nil || (p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP) {
				continue
			}
			key := port{slice.Namespace, slice.Labels[discoveryv1.LabelServiceName], ""}
			if p.Name != nil {
				key.name = *p.Name
			}
			for _, e := range slice.Endpoints {
				if e.Conditions.Ready != nil && !*e.Conditions.Ready {
					continue
				}
				for _, text := range e.Addresses {
					if addr, err := netip.ParseAddr(text); err == nil && reaches(addr) {
						ready[key] = append(ready[key], netip.AddrPortFrom(addr, uint16(*p.Port)).String())
					}
				}
			}
		}
	}
	to := map[netip.AddrPort][]string{}
	for _, service := range list {
		addr, err := netip.ParseAddr(service.Spec.ClusterIP)
		if err != nil {
			continue
		}
		for _, p := range service.Spec.Ports {
			pods := ready[port{service.Namespace, service.Name, p.Name}]
			if p.Protocol != corev1.ProtocolUDP && p.Protocol != corev1.ProtocolSCTP && len(pods) > 0 {
				to[netip.AddrPortFrom(addr, uint16(p.Port))] = pods
			}
		}
	}
	return to
}

// change makes the listeners and the addresses on the loopback interface those that lead somewhere.
func (s *services) change(ctx context.Context, to map[netip.AddrPort][]string) {
	s.mu.Lock()
	s.to = to
	s.mu.Unlock()
	for from, listener := range s.open {
		if to[from] == nil {
			_ = listener.Close()
			delete(s.open, from)
		}
	}
	var used []string
	for from := range to {
		if from.Addr() != s.own && s.network.Contains(from.Addr()) {
			used = append(used, from.Addr().String())
			if err := s.listen(ctx, from); err != nil {
				_, _ = fmt.Fprintf(s.log, "service at %s: %v\n", from, err)
			}
		}
	}
	have, err := netlink.LoopbackIn(s.network)
	if err != nil {
		_, _ = fmt.Fprintln(s.log, err)
	}
	for _, addr := range have {
		if addr != s.own.String() && !slices.Contains(used, addr) {
			if err := netlink.RemoveLoopback(addr); err != nil {
				_, _ = fmt.Fprintln(s.log, err)
			}
		}
	}
}

func (s *services) listen(ctx context.Context, from netip.AddrPort) error {
	if s.open[from] != nil {
		return nil
	}
	if err := netlink.AddLoopback(from.Addr().String()); err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", from.String())
	if err != nil {
		return err
	}
	s.open[from] = l
	go func() {
		if err := accept(ctx, l, func() string { return s.pick(from) }); err != nil {
			_, _ = fmt.Fprintf(s.log, "service at %s: %v\n", from, err)
		}
	}()
	return nil
}

// pick picks one of the pods, any: so does kube-proxy.
func (s *services) pick(from netip.AddrPort) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	pods := s.to[from]
	if len(pods) == 0 {
		return ""
	}
	return pods[rand.IntN(len(pods))] //nolint:gosec // not a secret
}
