package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// edit changes a record by hand. One that is immutable is made anew, as somebody who means it would.
func edit(t *testing.T, c *client.Client, name string, f func(cm *corev1.ConfigMap)) {
	t.Helper()
	maps := c.Kube.CoreV1().ConfigMaps(c.Namespace)
	cm, err := maps.Get(t.Context(), name, metav1.GetOptions{})
	must(t)(err)
	f(cm)
	if cm.Immutable != nil && *cm.Immutable {
		must(t)(maps.Delete(t.Context(), name, metav1.DeleteOptions{}))
		cm.ResourceVersion, cm.UID = "", ""
		_, err = maps.Create(t.Context(), cm, metav1.CreateOptions{})
	} else {
		_, err = maps.Update(t.Context(), cm, metav1.UpdateOptions{})
	}
	must(t)(err)
}

func discard(t *testing.T, c *client.Client, name string) {
	t.Helper()
	must(t)(c.Kube.CoreV1().ConfigMaps(c.Namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
}

// TestTampering damages records in each way, and sees that it is said, that the rest reads, and that the next
// registration works.
func TestTampering(t *testing.T) {
	s := kubetest.Open(t)
	ns := s.Namespace(t)
	for name, tc := range map[string]struct {
		damage func(t *testing.T, c *client.Client, m string)
		// want are what Check says, in any order; bare is how many versions are read.
		want []string
		bare int
	}{
		"facts": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, versionName(m, 2), func(cm *corev1.ConfigMap) { cm.Data["metrics.json"] = `{"rmse": 0.1}` })
		}, []string{"its summary contradicts its data", "mlmodel-facts: its summary, which lists show, contradicts its data"}, 2},
		"number": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, versionName(m, 1), func(cm *corev1.ConfigMap) { cm.Data["version"] = "5" })
		}, []string{"its data says that it is number:5", "its summary contradicts its data"}, 2},
		"label": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, versionName(m, 1), func(cm *corev1.ConfigMap) { cm.Labels[kube.LabelVersion] = "9" })
		}, []string{`label kubectl-ml.dev/version is "9" and should be "1"`}, 2},
		"no-labels": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, versionName(m, 1), func(cm *corev1.ConfigMap) { cm.Labels = nil })
		}, []string{"label app.kubernetes.io/managed-by is missing", "dev/kind is missing", "dev/model is missing", "dev/version is missing"}, 2},
		"mutable": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, versionName(m, 1), func(cm *corev1.ConfigMap) { cm.Immutable = ptr.To(true) })
			discard(t, c, versionName(m, 1))
			f := facts(1)
			f.Model, f.Version, f.CreatedAt = m, 1, time.Now().UTC()
			cm, err := f.object(c.Namespace, "k", nil)
			must(t)(err)
			cm.Immutable = nil
			_, err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Create(t.Context(), cm, metav1.CreateOptions{})
			must(t)(err)
		}, []string{"it is not immutable"}, 2},
		"summary": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, versionName(m, 1), func(cm *corev1.ConfigMap) { cm.Annotations[kube.AnnotationSummary] = "{" })
		}, []string{"its summary is missing or damaged"}, 2},
		"gone": {func(t *testing.T, c *client.Client, m string) { discard(t, c, versionName(m, 1)) },
			[]string{"gone@staging names version 1, which does not exist", "its record was deleted by hand"}, 1},
		"foreign": {func(t *testing.T, c *client.Client, m string) {
			discard(t, c, versionName(m, 1))
			_, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: versionName(m, 1)}}, metav1.CreateOptions{})
			must(t)(err)
		}, []string{"a ConfigMap that is no record has its name"}, 1},
		"head-key": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, kube.PrefixModel+m, func(cm *corev1.ConfigMap) { cm.Data["approval.2"], cm.Data["highest"] = "{", "many" })
		}, []string{"key approval.2 is damaged", "key highest is damaged"}, 2},
		"head-highest": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, kube.PrefixModel+m, func(cm *corev1.ConfigMap) { cm.Data["highest"], cm.Data["absent"] = "999999990", "103-999999990" })
		}, append(slices.Repeat([]string{"its record was deleted by hand"}, 100), "contradicts its data"), 2},
		"head-labels": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, kube.PrefixModel+m, func(cm *corev1.ConfigMap) { cm.Labels = nil })
		}, []string{"label app.kubernetes.io/managed-by", "label kubectl-ml.dev/kind", "label kubectl-ml.dev/model"}, 2},
		"head-summary": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, kube.PrefixModel+m, func(cm *corev1.ConfigMap) { delete(cm.Annotations, kube.AnnotationSummary) })
		}, []string{"its summary, which lists show, contradicts its data"}, 2},
		"alias": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, kube.PrefixModel+m, func(cm *corev1.ConfigMap) { cm.Data["alias.staging"] = "2" })
		}, []string{"alias@staging names version 2, and by the history it names version 1: it was moved by hand", "contradicts its data"}, 2},
		"alias-gone": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, kube.PrefixModel+m, func(cm *corev1.ConfigMap) { delete(cm.Data, "alias.staging") })
		}, []string{"the alias staging is missing, and by the history it names version 1", "contradicts its data"}, 2},
		"line-changed": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, kube.PrefixModel+m, func(cm *corev1.ConfigMap) {
				cm.Data["history"] = strings.Replace(cm.Data["history"], `"by":"ann"`, `"by":"eve"`, 1)
			})
		}, []string{"the lines of the history do not give its hash"}, 2},
		"line-gone": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, kube.PrefixModel+m, func(cm *corev1.ConfigMap) {
				_, rest, _ := strings.Cut(cm.Data["history"], "\n")
				cm.Data["history"] = rest
			})
		}, []string{"the history has 2 lines and should have 3"}, 2},
		"line-damaged": {func(t *testing.T, c *client.Client, m string) {
			edit(t, c, kube.PrefixModel+m, func(cm *corev1.ConfigMap) { cm.Data["history"] += "oops\n" })
		}, []string{"line 4 of the history cannot be read", "the history has 4 lines and should have 3"}, 2},
		"head-gone": {func(t *testing.T, c *client.Client, m string) { discard(t, c, kube.PrefixModel+m) },
			[]string{"the record of the model is missing; versions: [1 2], pages of history: 0"}, 2},
		"by-hand": {func(t *testing.T, c *client.Client, m string) {
			f := facts(3)
			f.Model, f.Version, f.CreatedAt = m, 3, time.Now().UTC()
			cm, err := f.object(c.Namespace, "k", nil)
			must(t)(err)
			_, err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Create(t.Context(), cm, metav1.CreateOptions{})
			must(t)(err)
		}, []string{"its record was made by hand: the model does not know it"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := client.New(s.Config(t), ns)
			must(t)(err)
			must(t)(register(t, c, name, "", 1))
			must(t)(register(t, c, name, "", 2))
			must(t)(alias(t, c, name, 1, ""))
			tc.damage(t, c, name)
			problems, err := Check(t.Context(), c, name)
			must(t)(err)
			for _, want := range tc.want {
				if !strings.Contains(said(problems), want) {
					t.Errorf("check does not say %q", want)
				}
			}
			if len(problems) != len(tc.want) {
				t.Errorf("%d problems, want %d", len(problems), len(tc.want))
			}
			for _, p := range problems {
				if p.Hint == "" || p.Model != name || p.Object == "" {
					t.Errorf("a problem without help: %+v", p)
				}
			}
			if t.Failed() {
				t.Log(said(problems))
			}
			read := 0
			for n := 1; n <= 3; n++ {
				v, err := Resolve(t.Context(), c, Ref{Model: name, Version: n})
				if err == nil {
					read++
				}
				if err == nil && v.Artifact.URI != fmt.Sprintf("s3://bucket/%d", n) {
					t.Errorf("version %d is read as %+v", n, v.Facts)
				}
			}
			if read != tc.bare {
				t.Errorf("%d versions are read, want %d", read, tc.bare)
			}
			if _, err := Models(t.Context(), c, ListOptions{}); err != nil {
				t.Errorf("models: %v", err)
			}
			if _, err := Versions(t.Context(), c, name); err != nil {
				t.Errorf("versions: %v", err)
			}
			next := 3
			switch name {
			case "by-hand":
				next = 4
			case "head-highest":
				next = 999999991
			}
			f := facts(4)
			f.Model = name
			if v, made, err := Register(t.Context(), c, f, RegisterOptions{By: "ann"}); err != nil || !made || v.Version != next {
				t.Errorf("the next registration: %d %v %v", v.Version, made, err)
			}
			must(t)(Record(t.Context(), c, name, Event{Action: Deployed, Version: 2, By: "ann"}))
			if name == "by-hand" {
				settled(t, c, name, []int{4, 3, 2, 1}, 6)
			}
		})
	}
}

func said(problems []Problem) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "%s: %s\n", p.Object, p.What)
	}
	return b.String()
}

// TestHistoryTurnsPages writes more than a head keeps, and takes a page away.
func TestHistoryTurnsPages(t *testing.T) {
	c := connect(t)
	const m, lines = "house-prices", 90
	fill(t, c, 1)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range lines - 1 {
		// Each writer's clock is an hour behind that of the one before.
		must(t)(Record(t.Context(), c, m, Event{Action: Deployed, Version: i, At: at.Add(-time.Duration(i) * time.Hour), By: "ann", Comment: long()}))
	}
	h, err := GetHead(t.Context(), c, m)
	must(t)(err)
	if h.cursor.Pages < 3 || h.cursor.Lines != lines {
		t.Fatalf("%+v", h.cursor)
	}
	events, problems, err := History(t.Context(), c, m)
	if err != nil || len(problems) > 0 || len(events) != lines {
		t.Fatalf("%d lines, %+v %v", len(events), problems, err)
	}
	for i, e := range events[1:] {
		if e.Version != i || !e.At.Equal(at.Add(-time.Duration(i)*time.Hour)) {
			t.Fatalf("line %d is of version %d at %s", i+2, e.Version, e.At)
		}
	}
	problems, err = Check(t.Context(), c, m)
	if err != nil || len(problems) != lines-1 || !strings.Contains(problems[0].What, "a clock was wrong: line 2") {
		t.Errorf("%d problems, %v\n%.500s", len(problems), err, said(problems))
	}
	edit(t, c, pageName(m, 1), func(cm *corev1.ConfigMap) { cm.Data["history"] = strings.Replace(cm.Data["history"], "ann", "eve", 1) })
	discard(t, c, pageName(m, 2))
	events, problems, err = History(t.Context(), c, m)
	if err != nil || len(events) >= lines || len(events) < lines/3 {
		t.Errorf("%d lines, %v", len(events), err)
	}
	if text := said(problems); len(problems) != 2 || !strings.Contains(text, "page 1 of the history: its lines do not give its hash") || !strings.Contains(text, "page 2 of the history is missing") {
		t.Error(text)
	}
	// A head whose cursor was lost finds the rest again.
	edit(t, c, kube.PrefixModel+m, func(cm *corev1.ConfigMap) { delete(cm.Data, keyCursor) })
	must(t)(Record(t.Context(), c, m, Event{Action: Deployed, By: "ann"}))
	if again, _, err := History(t.Context(), c, m); err != nil || len(again) != len(events)+1 {
		t.Errorf("%d lines after %d, %v", len(again), len(events), err)
	}
}

func TestForbidden(t *testing.T) {
	s := kubetest.Open(t)
	ns := s.Namespace(t)
	cfg := s.Config(t)
	cfg.Impersonate.UserName = "trainee"
	c, err := client.New(cfg, ns)
	must(t)(err)
	admin, err := client.New(s.Config(t), ns)
	must(t)(err)
	_, _, err = Register(t.Context(), c, facts(1), RegisterOptions{})
	if err == nil || !strings.Contains(err.Error(), "forbidden: needs get configmaps in namespace "+ns+" (you are trainee)") || !strings.Contains(err.Error(), "kubectl auth can-i get configmaps") {
		t.Error(err)
	}
	grant(t, admin, "trainee", "get", "list")
	must(t)(register(t, admin, "house-prices", "", 1))
	if v, err := Resolve(t.Context(), c, Ref{Model: "house-prices"}); err != nil || v.Version != 1 {
		t.Errorf("%d %v", v.Version, err)
	}
	_, err = SetAlias(t.Context(), c, Move{Model: "house-prices", Alias: "production", To: 1})
	if err == nil || !strings.Contains(err.Error(), "forbidden: needs update configmaps") {
		t.Error(err)
	}
	// Who may change the head and not make a version leaves nothing that others wait for.
	grant(t, admin, "novice", "get", "list", "update")
	cfg.Impersonate.UserName = "novice"
	c, err = client.New(cfg, ns)
	must(t)(err)
	if err := register(t, c, "house-prices", "", 2); err == nil || !strings.Contains(err.Error(), "forbidden: needs create configmaps") {
		t.Error(err)
	}
	settled(t, admin, "house-prices", []int{1}, 1)
}

func grant(t *testing.T, admin *client.Client, user string, verbs ...string) {
	t.Helper()
	rbac := admin.Kube.RbacV1()
	_, err := rbac.Roles(admin.Namespace).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: verbs}},
	}, metav1.CreateOptions{})
	must(t)(err)
	_, err = rbac.RoleBindings(admin.Namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: user}, Subjects: []rbacv1.Subject{{Kind: "User", Name: user}},
	}, metav1.CreateOptions{})
	must(t)(err)
	for range 100 {
		if _, err = as(t, user).Kube.CoreV1().ConfigMaps(admin.Namespace).List(t.Context(), metav1.ListOptions{Limit: 1}); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal(err)
}

func as(t *testing.T, user string) *client.Client {
	t.Helper()
	cfg := kubetest.Cluster(t)
	cfg.Impersonate.UserName = user
	c, err := client.New(cfg, "default")
	must(t)(err)
	return c
}

func TestAForeignConfigMapHasTheNameOfAHead(t *testing.T) {
	c := connect(t)
	_, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mlmodel-house-prices"}, Data: map[string]string{"a": "b"}}, metav1.CreateOptions{})
	must(t)(err)
	if err := register(t, c, "house-prices", "", 1); err == nil || !strings.Contains(err.Error(), "has the name of the record of model house-prices and is not one") {
		t.Error(err)
	}
}
