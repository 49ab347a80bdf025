package serving

import (
	"maps"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// servicePort is the port of generated Services.
const servicePort = 80

// routes is the HTTPRoute of the Gateway API.
func routes() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}
}

// meta is the head of an object that stands beside a Deployment.
func meta(name string, d *appsv1.Deployment) metav1.ObjectMeta {
	labels := map[string]string{kube.LabelManagedBy: kube.ManagedBy}
	if m := d.Labels[kube.LabelModel]; m != "" {
		labels[kube.LabelModel] = m
	}
	return metav1.ObjectMeta{Name: name, Namespace: d.Namespace, Labels: labels}
}

// service stands before the pods of a Deployment, those of one side where side is not empty.
func service(name string, d *appsv1.Deployment, side string) *corev1.Service {
	selector := maps.Clone(d.Spec.Selector.MatchLabels)
	if side != "" {
		selector[kube.LabelSide] = side
	}
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta(name, d),
		Spec: corev1.ServiceSpec{
			Selector: selector,
			Ports: []corev1.ServicePort{{
				Name: portName, Port: servicePort, Protocol: corev1.ProtocolTCP,
				TargetPort: intstr.FromInt32(firstPort(&d.Spec.Template.Spec.Containers[0])),
			}},
		},
	}
}

// autoscaler scales a Deployment by its CPU.
func autoscaler(name string, d *appsv1.Deployment, a *pipeline.Autoscale) *autoscalingv2.HorizontalPodAutoscaler {
	cpu := a.CPU
	if cpu == 0 {
		cpu = pipeline.DefaultScaleCPU
	}
	return &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: autoscalingv2.SchemeGroupVersion.String(), Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: meta(name, d),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: scaleTarget(d.Name),
			MinReplicas:    ptr.To(max(1, a.Min)), MaxReplicas: a.Max,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ResourceMetricSourceType,
				Resource: &autoscalingv2.ResourceMetricSource{
					Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &cpu},
				},
			}},
		},
	}
}

func scaleTarget(deployment string) autoscalingv2.CrossVersionObjectReference {
	return autoscalingv2.CrossVersionObjectReference{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment", Name: deployment}
}

// budget keeps the drain of nodes from taking all pods at once.
func budget(name string, d *appsv1.Deployment, most *intstr.IntOrString) *policyv1.PodDisruptionBudget {
	if most == nil {
		most = ptr.To(intstr.FromInt32(1))
	}
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: policyv1.SchemeGroupVersion.String(), Kind: "PodDisruptionBudget"},
		ObjectMeta: meta(name, d),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: most, Selector: &metav1.LabelSelector{MatchLabels: maps.Clone(d.Spec.Selector.MatchLabels)},
			UnhealthyPodEvictionPolicy: ptr.To(policyv1.AlwaysAllow),
		},
	}
}

// ingress leads a host to a Service.
func ingress(svc *corev1.Service, d *appsv1.Deployment, host string) *networkingv1.Ingress {
	return &networkingv1.Ingress{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "Ingress"},
		ObjectMeta: meta(svc.Name, d),
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{
			Host: host,
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: "/", PathType: ptr.To(networkingv1.PathTypePrefix),
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
					Name: svc.Name, Port: networkingv1.ServiceBackendPort{Number: svc.Spec.Ports[0].Port},
				}},
			}}}},
		}}},
	}
}

// route leads what a Gateway, NAME or NAMESPACE/NAME, receives for a host to a Service.
func route(svc *corev1.Service, d *appsv1.Deployment, gateway, host string) *unstructured.Unstructured {
	parent := map[string]any{"name": gateway}
	if ns, name, ok := strings.Cut(gateway, "/"); ok {
		parent = map[string]any{"name": name, "namespace": ns}
	}
	spec := map[string]any{
		"parentRefs": []any{parent},
		"rules":      []any{map[string]any{"backendRefs": []any{backend(svc.Name, svc.Spec.Ports[0].Port, 100)}}},
	}
	if host != "" {
		spec["hostnames"] = []any{host}
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetAPIVersion(routes().GroupVersion().String())
	u.SetKind("HTTPRoute")
	m := meta(svc.Name, d)
	u.SetName(m.Name)
	u.SetNamespace(m.Namespace)
	u.SetLabels(m.Labels)
	return u
}

func backend(service string, port int32, weight int64) map[string]any {
	return map[string]any{"name": service, "port": int64(port), "weight": weight}
}

// sideDeployment is the Deployment of another side with a spec: its own name, and a selector that takes its own pods only.
func sideDeployment(name, side string, labels map[string]string, spec appsv1.DeploymentSpec, replicas int32) *appsv1.Deployment {
	d := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: deploymentName(name, side), Labels: maps.Clone(labels)},
		Spec:       *spec.DeepCopy(),
	}
	put(&d.Labels, map[string]string{kube.LabelManagedBy: kube.ManagedBy, kube.LabelSide: side})
	d.Spec.Replicas = &replicas
	put(&d.Spec.Template.Labels, map[string]string{kube.LabelSide: side})
	put(&d.Spec.Selector.MatchLabels, map[string]string{kube.LabelSide: side})
	return d
}
