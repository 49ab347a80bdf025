package supervisor

import (
	"net/netip"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTargets(t *testing.T) {
	service := func(namespace, name, ip string, ports ...corev1.ServicePort) corev1.Service {
		return corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       corev1.ServiceSpec{ClusterIP: ip, Ports: ports},
		}
	}
	slice := func(service string, port discoveryv1.EndpointPort, endpoints ...discoveryv1.Endpoint) discoveryv1.EndpointSlice {
		return discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			Ports:      []discoveryv1.EndpointPort{port}, Endpoints: endpoints,
		}
	}
	endpoint := func(ready *bool, address string) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ready}}
	}
	http, none := "http", ""
	udp := corev1.ProtocolUDP
	p80, p53, wild := int32(8080), int32(53), int32(0)
	no := false

	got := targets([]corev1.Service{
		service("a", "web", "10.1.0.5", corev1.ServicePort{Name: "http", Port: 80}, corev1.ServicePort{Name: "admin", Port: 81}),
		service("a", "dns", "10.1.0.6", corev1.ServicePort{Port: 53, Protocol: udp}),
		service("a", "simulated", "10.1.0.7", corev1.ServicePort{Port: 80}),
		service("b", "web", "10.1.0.8", corev1.ServicePort{Name: "http", Port: 80}), // no endpoints in b
		service("a", "none", "", corev1.ServicePort{Name: "http", Port: 80}),
	}, []discoveryv1.EndpointSlice{
		slice("web", discoveryv1.EndpointPort{Name: &http, Port: &p80}, endpoint(nil, "10.2.0.1"), endpoint(&no, "10.2.0.2")),
		slice("web", discoveryv1.EndpointPort{Name: &http, Port: &p80}, endpoint(nil, "10.2.0.3"), endpoint(nil, "not an address")),
		slice("web", discoveryv1.EndpointPort{Name: &http}, endpoint(nil, "10.2.0.4")),
		slice("dns", discoveryv1.EndpointPort{Name: &none, Port: &p53, Protocol: &udp}, endpoint(nil, "10.2.0.1")),
		slice("simulated", discoveryv1.EndpointPort{Name: &none, Port: &wild}, endpoint(nil, "198.18.0.1")),
	}, netip.MustParsePrefix("10.2.0.0/24").Contains)
	want := map[netip.AddrPort][]string{netip.MustParseAddrPort("10.1.0.5:80"): {"10.2.0.1:8080", "10.2.0.3:8080"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("targets = %v, want %v", got, want)
	}
}
