package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"k8s.io/utils/ptr"
)

func TestFiftyPromoteAtOnce(t *testing.T) {
	c := connect(t)
	const n = 50
	fill(t, c, n)
	race := func(alias string, ifCurrent *int) (won []int, conflicts int) {
		var all sync.WaitGroup
		var mu sync.Mutex
		for i := range n {
			all.Go(func() {
				e, err := SetAlias(t.Context(), c, Move{Model: "house-prices", Alias: alias, To: i + 1, IfCurrent: ifCurrent, Action: Promoted, By: fmt.Sprint(i)})
				mu.Lock()
				defer mu.Unlock()
				var conflict *ConflictError
				switch {
				case err == nil:
					won = append(won, e.Version)
				case errors.As(err, &conflict) && conflict.Last != nil && conflict.Last.Version == conflict.Is:
					conflicts++
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		return won, conflicts
	}
	won, conflicts := race("production", ptr.To(0))
	if len(won) != 1 || conflicts != n-1 {
		t.Fatalf("%v won, %d conflicts", won, conflicts)
	}
	if v, err := Resolve(t.Context(), c, Ref{Model: "house-prices", Alias: "production"}); err != nil || v.Version != won[0] {
		t.Errorf("production is %d, the winner %d, %v", v.Version, won[0], err)
	}
	if won, _ = race("staging", nil); len(won) != n {
		t.Fatalf("%d of %d moved the alias", len(won), n)
	}
	events, problems, err := History(t.Context(), c, "house-prices")
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	at, moves := 0, 0
	for _, e := range events {
		if e.Alias != "staging" {
			continue
		}
		if e.From != at || e.Version != at && e.By != fmt.Sprint(e.Version-1) {
			t.Errorf("the alias was at %d, and the line says %+v", at, e)
		}
		at, moves = e.Version, moves+1
	}
	if h, err := GetHead(t.Context(), c, "house-prices"); err != nil || h.Aliases["staging"] != at || moves != n {
		t.Errorf("%d moves end at %d, the alias at %d, %v", moves, at, h.Aliases["staging"], err)
	}
}

func TestWhatAnAliasMayName(t *testing.T) {
	c := connect(t)
	fill(t, c, 5)
	ctx := t.Context()
	const m = "house-prices"
	move := func(alias string, to int) error {
		_, err := SetAlias(ctx, c, Move{Model: m, Alias: alias, To: to, By: "ann"})
		return err
	}
	wants := func(err error, want string) {
		t.Helper()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	judge := func(n int, state string) {
		t.Helper()
		_, err := Judge(ctx, c, m, n, state, Mark{By: "bob", Comment: "looked at it"}, nil)
		wants(err, "")
	}
	wants(move("production", 9), "the highest version is 5")
	wants(move("latest", 1), "latest cannot be set")
	wants(move("7", 1), "cannot be an alias")
	_, err := SetAlias(ctx, c, Move{Model: "house-price", Alias: "production", To: 1, By: "ann"})
	wants(err, "did you mean house-prices?")
	wants(move("staging", 0), "has no alias staging")

	judge(2, "rejected")
	wants(move("production", 2), `house-prices:2 was rejected by bob`)
	wants(move("production-eu", 2), "was rejected")
	wants(move("experiment", 2), "")
	wants(move("production", 1), "")
	wants(Annotate(ctx, c, Ref{Model: m}, map[string]string{SetRequireApproval: "true", "team": "ml"}, nil, Mark{By: "ann"}, nil), "")
	wants(move("production", 3), "nobody has approved house-prices:3")
	judge(3, "approved")
	wants(move("production", 3), "")
	wants(move("staging", 4), "")

	_, err = Archive(ctx, c, m, 4, false, Mark{By: "ann"}, nil)
	wants(err, "staging names it")
	wants(Delete(ctx, c, Ref{Model: m, Version: 4}, Mark{By: "ann"}, nil), "staging names it")
	wants(move("staging", 0), "")
	_, err = Archive(ctx, c, m, 5, false, Mark{By: "ann"}, nil)
	wants(err, "")
	wants(move("staging", 5), "was archived by ann")
	if v, err := Resolve(ctx, c, Ref{Model: m}); err != nil || v.Version != 4 {
		t.Errorf("the latest is %d, %v", v.Version, err)
	}
	_, err = Archive(ctx, c, m, 5, true, Mark{By: "ann"}, nil)
	wants(err, "")
	wants(Delete(ctx, c, Ref{Model: m}, Mark{By: "ann"}, nil), "its aliases name versions: experiment, production")
	wants(Delete(ctx, c, Ref{Model: m, Version: 4}, Mark{By: "ann"}, nil), "")
	wants(move("staging", 4), "house-prices:4 was deleted by ann")
	_, err = Resolve(ctx, c, Ref{Model: m, Version: 4})
	wants(err, "house-prices:4 was deleted by ann")
	_, err = Judge(ctx, c, m, 4, "approved", Mark{By: "ann"}, nil)
	wants(err, "was deleted")

	f := facts(9)
	f.Version = 4
	_, _, err = Register(ctx, c, f, RegisterOptions{By: "ann"})
	wants(err, "numbers are not used again")
	f.Version = 8
	v, _, err := Register(ctx, c, f, RegisterOptions{By: "ann", Action: Imported})
	wants(err, "")
	f.Version = 6
	_, _, err = Register(ctx, c, f, RegisterOptions{By: "ann", Action: Imported})
	wants(err, "")
	if next, _, err := Register(ctx, c, facts(10), RegisterOptions{By: "ann"}); err != nil || next.Version != 9 || v.Version != 8 {
		t.Errorf("after an import of 8 comes %d, %v", next.Version, err)
	}
	wants(Annotate(ctx, c, Ref{Model: m, Version: 1}, map[string]string{"a": "1"}, nil, Mark{By: "ann"}, nil), "")
	if v, err := Resolve(ctx, c, Ref{Model: m, Version: 1}); err != nil || v.Notes["a"] != "1" || len(v.Problems) > 0 {
		t.Errorf("%+v %v", v, err)
	}
	if problems, err := Check(ctx, c, ""); err != nil || len(problems) > 0 {
		t.Errorf("check: %+v %v", problems, err)
	}
	if models, err := Models(ctx, c, ListOptions{}); err != nil || len(models) != 1 || models[0].Versions != 7 || models[0].Latest != 9 {
		t.Errorf("%+v %v", models, err)
	}
}

func TestRollback(t *testing.T) {
	c := connect(t)
	fill(t, c, 6)
	ctx := t.Context()
	const m, prod = "house-prices", "production"
	promote := func(n int) {
		t.Helper()
		if _, err := SetAlias(ctx, c, Move{Model: m, Alias: prod, To: n, Action: Promoted, By: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	back := func(steps, want int, skipped string) {
		t.Helper()
		e, err := Rollback(ctx, c, m, prod, steps, nil, Mark{By: "bob"}, nil)
		if err != nil || e.Version != want || fmt.Sprint(e.Skipped) != skipped {
			t.Fatalf("back by %d: %+v %v", steps, e, err)
		}
	}
	if _, err := Rollback(ctx, c, m, prod, 1, nil, Mark{}, nil); err == nil || !strings.Contains(err.Error(), "has no alias production") {
		t.Error(err)
	}
	for n := range 5 {
		promote(n + 1)
	}
	back(1, 4, "[]")
	back(1, 3, "[]") // not forth to 5 again
	promote(6)
	back(1, 3, "[]")
	if _, err := Rollback(ctx, c, m, prod, 1, ptr.To(6), Mark{By: "bob"}, nil); err == nil || !strings.Contains(err.Error(), "names version 3, not version 6: bob moved it from version 6 to version 3") {
		t.Errorf("if-current: %v", err)
	}
	if _, err := Judge(ctx, c, m, 2, "rejected", Mark{By: "ann"}, nil); err != nil {
		t.Fatal(err)
	}
	back(1, 1, "[2]")
	if _, err := Rollback(ctx, c, m, prod, 1, nil, Mark{By: "bob"}, nil); err == nil || !strings.Contains(err.Error(), "named nothing else before version 1") {
		t.Errorf("back from the first: %v", err)
	}
	promote(3)
	promote(4)
	back(2, 1, "[]")
	events, _, err := History(ctx, c, m)
	if text, _ := json.Marshal(events[len(events)-1]); err != nil || !strings.Contains(string(text), `"action":"rolled-back"`) {
		t.Errorf("the last line is %s %v", text, err)
	}
}

func TestARegistrationIsDoneOnceForItsKey(t *testing.T) {
	c := connect(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	numbers, made := map[int]int{}, 0
	for i := range 30 {
		all.Go(func() {
			v, first, err := Register(t.Context(), c, facts(i%3), RegisterOptions{Key: fmt.Sprint("run/train/", i%3), By: "ann"})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			if first {
				made++
			}
			if n, ok := numbers[i%3]; ok && n != v.Version {
				t.Errorf("key %d is version %d and %d", i%3, n, v.Version)
			}
			numbers[i%3] = v.Version
		})
	}
	all.Wait()
	if made != 3 {
		t.Errorf("%d were made for 3 keys", made)
	}
	fill3 := facts(9)
	if v, first, err := Register(t.Context(), c, fill3, RegisterOptions{By: "ann"}); err != nil || !first || v.Version != 4 {
		t.Errorf("%d %v %v", v.Version, first, err)
	}
	if v, first, err := Register(t.Context(), c, fill3, RegisterOptions{Key: "run/train/1", By: "ann"}); err != nil || first || v.Version != numbers[1] {
		t.Errorf("long after: %d %v %v", v.Version, first, err)
	}
	settled(t, c, "house-prices", []int{4, 3, 2, 1}, 4)
}

func TestAnArtifactInTheRecord(t *testing.T) {
	c := connect(t)
	f := facts(1)
	f.Artifact.URI = "inline:model.pkl"
	bytes := []byte("\x80\x04pickle")
	v, _, err := Register(t.Context(), c, f, RegisterOptions{Inline: bytes, By: "ann"})
	if err != nil || v.Artifact.Size != int64(len(bytes)) || v.Artifact.Digest != DigestOf(bytes) {
		t.Fatalf("%+v %v", v, err)
	}
	if got, err := Inline(t.Context(), c, v); err != nil || string(got) != string(bytes) {
		t.Errorf("%q %v", got, err)
	}
	for want, o := range map[string]RegisterOptions{
		"a record keeps 921600 at most": {Inline: make([]byte, MaxInline+1)},
		"its bytes are missing":         {},
	} {
		if _, _, err := Register(t.Context(), c, f, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f.Artifact.Digest = "sha256:" + strings.Repeat("0", 64)
	if _, _, err := Register(t.Context(), c, f, RegisterOptions{Inline: bytes, By: "ann"}); err == nil || !strings.Contains(err.Error(), "the artifact's digest is") {
		t.Error(err)
	}
	if _, _, err := Register(t.Context(), c, facts(2), RegisterOptions{By: "ann", DryRun: []string{"All"}}); err != nil {
		t.Errorf("dry run: %v", err)
	}
	settled(t, c, "house-prices", []int{1}, 1)
}
