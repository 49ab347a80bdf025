package job

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestProgressOfALog(t *testing.T) {
	for name, c := range map[string]struct {
		log           string
		percent, loss float64
		at            string
	}{
		"the last line counts": {"2026-03-01T12:00:00Z epoch 1/10 loss=0.9\n2026-03-01T12:00:09Z epoch 2/10 loss=0.5\n2026-03-01T12:00:10Z bye", 20, 0.5, "2026-03-01T12:00:09Z"},
		"the last state of an overwritten line": {
			"2026-03-01T12:00:00Z 10%|█         | 10/100 [00:01<00:09, 9.5it/s, loss=0.8]\r 20%|██        | 20/100 [00:02<00:08, 9.5it/s, loss=0.7]", 20, 0.7, "2026-03-01T12:00:00Z",
		},
		"a bar longer than any buffer": {
			"2026-03-01T12:00:00Z " + strings.Repeat(" 10%|█         | 10/100 [00:01<00:09, 9.5it/s]\r", 20_000) + " 50%|█████     | 50/100 [00:05<00:05, 9.5it/s, loss=0.1]\n", 50, 0.1, "2026-03-01T12:00:00Z",
		},
		"what one line is silent about another tells": {"step 3/4\nloss=0.25 step 3", 75, 0.25, ""},
	} {
		p, err := progressOf(strings.NewReader(c.log))
		if err != nil || p.Percent != c.percent || p.Metrics["loss"] != c.loss {
			t.Errorf("%s: %g %%, loss %g, %v; want %g and %g", name, p.Percent, p.Metrics["loss"], err, c.percent, c.loss)
		}
		if at, _ := time.Parse(time.RFC3339, c.at); !p.At.Equal(at) {
			t.Errorf("%s: at %s, want %s", name, p.At, c.at)
		}
	}
	if p, err := progressOf(strings.NewReader("hello\n")); err != nil || p.Source != "" {
		t.Errorf("of nothing: %+v, %v", p, err)
	}
}

func TestProgressOfABrokenLogIsNone(t *testing.T) {
	cut := errors.New("cut")
	p, err := progressOf(io.MultiReader(strings.NewReader("epoch 1/10 loss=0.9\n"), iotest.ErrReader(cut)))
	if !errors.Is(err, cut) || p.Source != "" {
		t.Errorf("%+v, %v", p, err)
	}
}
