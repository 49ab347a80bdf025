package registry

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// TestAnyInterleaving lets clients do what they like with one model, at once, each dying again and again at any of its
// writes. Whatever comes of it, the records must agree with each other and with the history.
func TestAnyInterleaving(t *testing.T) {
	s := kubetest.Open(t)
	ns := s.Namespace(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const model, clients, ops = "m", 4, 12
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range ops {
				c, _ := mortal(t, s, ns, 1+r.IntN(8), r.IntN(2) == 0)
				// A client lives for some operations, or until it is killed.
				for range 3 {
					if err := anything(t, c, r, model); errors.Is(err, errKilled) {
						break
					} else if err != nil && !expected(err) {
						t.Errorf("client %d: %v", i, err)
					}
				}
			}
		})
	}
	all.Wait()
	c, err := client.New(s.Config(t), ns)
	must(t)(err)
	must(t)(register(t, c, model, "", 0))
	agree(t, c, model)
}

// expected are the refusals that the rules of the registry ask for.
func expected(err error) bool {
	var refused *RefusedError
	var conflict *ConflictError
	return isNotFound(err) || errors.As(err, &refused) || errors.As(err, &conflict)
}

// anything does one thing to a model.
func anything(t *testing.T, c *client.Client, r *rand.Rand, model string) error {
	ctx, n, mark := t.Context(), 1+r.IntN(12), Mark{By: "ann"}
	aliases := []string{"production", "staging"}
	name := aliases[r.IntN(2)]
	var err error
	switch r.IntN(10) {
	case 0, 1:
		err = register(t, c, model, "", n)
	case 2:
		err = register(t, c, model, fmt.Sprint("key-", r.IntN(6)), n)
	case 3, 4:
		m := Move{Model: model, Alias: name, To: n, By: "ann"}
		if r.IntN(3) == 0 {
			is := r.IntN(4)
			m.IfCurrent = &is
		}
		_, err = SetAlias(ctx, c, m)
	case 5:
		_, err = Rollback(ctx, c, model, name, 1+r.IntN(2), nil, mark, nil)
	case 6:
		_, err = Judge(ctx, c, model, n, []string{"approved", "rejected"}[r.IntN(2)], mark, nil)
	case 7:
		_, err = Archive(ctx, c, model, n, r.IntN(2) == 0, mark, nil)
	case 8:
		err = Delete(ctx, c, Ref{Model: model, Version: n}, mark, nil)
	default:
		err = Record(ctx, c, model, Event{Action: Deployed, Version: n, By: "ann", Comment: long()})
	}
	return err
}

// agree sees that the records of a model agree with each other.
func agree(t *testing.T, c *client.Client, model string) {
	t.Helper()
	h, err := GetHead(t.Context(), c, model)
	must(t)(err)
	for n := 1; n <= h.Highest; n++ {
		if !h.Exists(n) { // what a client that died has left of a deletion
			if err := Delete(t.Context(), c, Ref{Model: model, Version: n}, Mark{By: "ann"}, nil); err != nil && !isNotFound(err) {
				t.Error(err)
			}
		}
	}
	problems, err := Check(t.Context(), c, model)
	must(t)(err)
	for _, p := range problems {
		if !strings.Contains(p.What, "which is rejected") { // judged while in production: allowed, and said
			t.Errorf("check: %+v", p)
		}
	}
	events, problems, err := History(t.Context(), c, model)
	must(t)(err)
	if len(problems) > 0 {
		t.Errorf("history: %+v", problems)
	}
	registered, gone := map[int]int{}, map[int]int{}
	for _, e := range events {
		switch e.Action {
		case Registered:
			registered[e.Version]++
		case Deleted:
			gone[e.Version]++
		}
	}
	list, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).List(t.Context(), kube.ListOptions(map[string]string{kube.LabelKind: kube.KindVersion, kube.LabelModel: model}))
	must(t)(err)
	there, keys := map[int]bool{}, map[string]string{}
	for i := range list.Items {
		n, _ := versionOf(list.Items[i].Name, model)
		there[n] = true
		key := list.Items[i].Data[keyKey]
		if other := keys[key]; other != "" {
			t.Errorf("%s and %s were registered for the same key %s", other, list.Items[i].Name, key)
		}
		keys[key] = list.Items[i].Name
	}
	for n := 1; n <= h.Highest; n++ {
		if registered[n] != 1 || gone[n] > 1 || (gone[n] == 0) != there[n] {
			t.Errorf("version %d: %d registrations, %d deletions, there %v", n, registered[n], gone[n], there[n])
		}
	}
	if _, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Get(t.Context(), versionName(model, h.Highest+1), metav1.GetOptions{}); err == nil {
		t.Errorf("there is a version above the highest, %d", h.Highest)
	}
}
