package serving

import rbacv1 "k8s.io/api/rbac/v1"

// Rules are the least rights with which a driver can take rollouts forward in one namespace, and write the model's history.
func Rules() []rbacv1.PolicyRule {
	rule := func(group, resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	return []rbacv1.PolicyRule{
		rule("apps", "deployments", "get", "create", "update", "patch", "delete"),
		rule("", "services", "get", "create", "update", "delete"),
		rule("", "pods", "list"),
		rule("batch", "jobs", "get", "create"),
		rule("autoscaling", "horizontalpodautoscalers", "list", "update"),
		rule("gateway.networking.k8s.io", "httproutes", "get", "update"),
		rule("", "configmaps", "get", "list", "create", "update"),
	}
}
