package job

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// brief writes a Progress as one line: source, counters, percent, metrics in order.
func brief(p Progress) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s step=%g/%g epoch=%g/%g %.4g%%", p.Source, p.Step, p.Total, p.Epoch, p.Epochs, p.Percent)
	if p.Label != "" {
		fmt.Fprintf(&b, " %q", p.Label)
	}
	for _, n := range p.Names {
		fmt.Fprintf(&b, " %s=%g", n, p.Metrics[n])
	}
	for _, n := range p.NotFinite {
		fmt.Fprintf(&b, " %s!", n)
	}
	return b.String()
}

func TestParseProgress(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{`::ml:: {"step":10,"total":100,"loss":0.4}`, "ml step=10/100 epoch=-1/-1 10% loss=0.4"},
		{`INFO ::ml:: {"loss":0.4,"acc":1,"epoch":2,"epochs":4}`, "ml step=-1/-1 epoch=2/4 50% loss=0.4 acc=1"},
		{`::ml:: {"step":1,"note":"x","deep":{"step":9,"a":[1,{"b":2}]},"on":true,"no":null,"z":3}`, "ml step=1/-1 epoch=-1/-1 -1% z=3"},
		{`::ml:: {"a":"b","c":"d","e":5}`, "ml step=-1/-1 epoch=-1/-1 -1% e=5"},
		{` 45%|████▌     | 45/100 [00:10<00:12,  4.4it/s, loss=0.3]`, "tqdm step=45/100 epoch=-1/-1 45% loss=0.3"},
		{"  1%| | 1/100 [00:00<?, ?it/s]\r 45%|████▌     | 45/100 [00:10<00:12,  4.4it/s]\r", "tqdm step=45/100 epoch=-1/-1 45%"},
		{`train: 45%|####5     | 1.2k/2.4k [00:10<00:12, 4.4it/s, loss=3e-4, lr=1e-05]`, `tqdm step=1200/2400 epoch=-1/-1 50% "train" loss=0.0003 lr=1e-05`},
		{`loss: 0.5: 12%|█▏ | 3/25 [00:01<00:12,  1.9it/s]`, `tqdm step=3/25 epoch=-1/-1 12% "loss: 0.5" loss=0.5`},
		{`45it [00:10,  4.40it/s, loss=0.3]`, "tqdm step=45/-1 epoch=-1/-1 -1% loss=0.3"},
		{`Epoch 3/10:  50%|█████     | 50/100 [00:10<00:12,  4.4it/s]`, `tqdm step=50/100 epoch=3/10 25% "Epoch 3/10"`},
		{`Epoch 3:  45%|████▌     | 45/100 [00:10<00:12,  4.4it/s, v_num=0, train_loss=0.1]`, `lightning step=45/100 epoch=3/-1 45% "Epoch 3" train_loss=0.1`},
		{`Epoch 0/4:  50%|█████     | 5/10 [00:10<00:12,  4.4it/s, v_num=0, loss=0.1]`, `lightning step=5/10 epoch=0/5 10% "Epoch 0/4" loss=0.1`},
		{`{'loss': 0.51, 'grad_norm': 1.2, 'learning_rate': 2e-05, 'epoch': 0.12}`, "huggingface step=-1/-1 epoch=0.12/-1 -1% loss=0.51 grad_norm=1.2 learning_rate=2e-05"},
		{`{'loss': '0.51', 'learning_rate': '2e-05', 'epoch': '0.12'}`, "huggingface step=-1/-1 epoch=0.12/-1 -1% loss=0.51 learning_rate=2e-05"},
		{`{'loss': nan, 'grad_norm': inf, 'epoch': 1.0}`, "huggingface step=-1/-1 epoch=1/-1 -1% loss! grad_norm!"},
		{`Epoch 3/10`, "keras step=-1/-1 epoch=3/10 20%"},
		{`45/100 [============>.................] - ETA: 10s - loss: 0.3000 - accuracy: 0.9`, "keras step=45/100 epoch=-1/-1 45% loss=0.3 accuracy=0.9"},
		{"\x1b[1m 45/100\x1b[0m \x1b[32m━━━━━━━━\x1b[0m\x1b[37m━━━━━━━━━━━━\x1b[0m \x1b[1m10s\x1b[0m 12ms/step - accuracy: 0.9 - loss: 0.3", "keras step=45/100 epoch=-1/-1 45% accuracy=0.9 loss=0.3"},
		{`100/100 - 3s - 29ms/step - loss: 0.3 - val_loss: 0.4`, "keras step=100/100 epoch=-1/-1 100% loss=0.3 val_loss=0.4"},
		{`epoch 3/10 loss=0.12`, "text step=-1/-1 epoch=3/10 30% loss=0.12"},
		{`Epoch [3/10], Loss: 0.12`, "text step=-1/-1 epoch=3/10 30% Loss=0.12"},
		{`Epoch [3/10], Step [300/600], Loss: 0.12`, "text step=300/600 epoch=3/10 25% Loss=0.12"},
		{"Train Epoch: 1 [640/64000 (1%)]\tLoss: 2.300", "text step=640/64000 epoch=1/-1 1% Loss=2.3"},
		{`step 250: train loss 2.1, val loss 2.2`, "text step=250/-1 epoch=-1/-1 -1% train_loss=2.1 val_loss=2.2"},
		{`iter 100: loss 2.3, time 200.1ms, mfu 3%`, "text step=100/-1 epoch=-1/-1 -1% loss=2.3"},
		{`2026-10-01 12:30:00,123 INFO trainer.py:42 epoch=3 Train Loss: 0.12 Val Loss: 0.3 acc: 90%`, "text step=-1/-1 epoch=3/-1 -1% Train_Loss=0.12 Val_Loss=0.3 acc=90"},
		{`Step 3/5 : compile`, "text step=3/5 epoch=-1/-1 60%"},
	} {
		p, ok := ParseProgress(tc.in)
		if got := brief(p); !ok || got != tc.want {
			t.Errorf("ParseProgress(%q)\n got %s (%t)\nwant %s", tc.in, got, ok, tc.want)
		}
	}
}

func TestNotProgress(t *testing.T) {
	for _, in := range []string{
		"", "\r", "::ml::", "::ml:: {", `::ml:: {"step":NaN}`, `::ml:: {"loss":Nan1}`, `::ml:: [1]`, `::ml:: {"step":1} {"step":2}`,
		`::ml:: {"step":-5}`, `::ml:: {"a":01x}`, `::ml:: {"a":1,}`, `::ml:: {a:1}`, `::ml:: {"a":[1}`, `::ml:: {"a":{"b":1}`, `::ml:: {"a":"b"}`,
		"GET /epoch/3 200", "step 2: download the data", "starting epoch 3", "iteration done", "100% done", "45%| nothing",
		`{'a': 1}`, `{'loss': [1, 2]}`, `{'loss'}`, `{"loss": 1}`, "12/31 was a day", "1/2",
		`Validation DataLoader 0:  45%|████▌     | 45/100 [00:10<00:12,  4.4it/s]`,
		`Sanity Checking DataLoader 0: 100%|██| 2/2 [00:10<00:12,  4.4it/s]`,
		"999%|x| 1/2 [", "listening on host:8080 step", "-%|-| -/-",
	} {
		if p, ok := ParseProgress(in); ok {
			t.Errorf("ParseProgress(%q) = %s", in, brief(p))
		}
	}
}

func TestHostileLines(t *testing.T) {
	huge := 1 << 20
	for _, in := range []string{
		strings.Repeat("a", huge), strings.Repeat("\r", huge), strings.Repeat("epoch 1 ", huge/8), strings.Repeat("%|", huge/2),
		"::ml:: " + strings.Repeat(`{"a":`, huge/5), "::ml:: " + strings.Repeat("[", huge), "{'" + strings.Repeat("loss': 1, '", huge/11) + "}",
		strings.Repeat("x=1 ", 3000) + "step 1/2", strings.Repeat("\x1b]", huge/2), strings.Repeat("1", huge) + "/2 [====]",
	} {
		if p, ok := ParseProgress(in); ok && (len(p.Names) > maxMetrics || len(p.Label) > maxName) {
			t.Errorf("%.20q... is not bounded: %d metrics", in, len(p.Names))
		}
	}
	if p, ok := ParseProgress(strings.Repeat("x", huge) + "\r 45%|█| 45/100 [00:10<00:12]"); !ok || p.Step != 45 {
		t.Errorf("the last state of a huge line is lost: %s", brief(p))
	}
}

func TestMerge(t *testing.T) {
	for name, tc := range map[string]struct {
		lines []string
		want  string
	}{
		"keras": {
			[]string{"Epoch 1/4", "50/100 [==>..] - loss: 0.5", "100/100 [====] - 3s - loss: 0.4 - val_loss: 0.45", "Epoch 2/4", "50/100 [==>..] - loss: 0.3"},
			"keras step=50/100 epoch=2/4 37.5% loss=0.3 val_loss=0.45",
		},
		"keras, epoch begun": {
			[]string{"Epoch 1/4", "100/100 [====] - 3s - loss: 0.4", "Epoch 2/4"},
			"keras step=-1/100 epoch=2/4 25% loss=0.4",
		},
		"hugging face evaluates": {
			[]string{" 45%|█| 45/100 [00:10<00:12, 4.4it/s]", "{'loss': 0.5, 'epoch': 0.45}", " 10%|█| 1/10 [00:00<00:01, 4.4it/s]", "{'eval_loss': 0.6, 'epoch': 0.45}"},
			"huggingface step=45/100 epoch=0.45/-1 45% loss=0.5 eval_loss=0.6",
		},
		"hugging face goes on": {
			[]string{" 45%|█| 45/100 [00:10<00:12, 4.4it/s]", "{'loss': 0.5, 'epoch': 0.45}", " 46%|█| 46/100 [00:00<00:01, 4.4it/s]"},
			"tqdm step=46/100 epoch=0.45/-1 46% loss=0.5",
		},
		"total said once": {
			[]string{`::ml:: {"step":1,"total":10}`, `::ml:: {"step":5}`, `::ml:: {"loss":0.1}`},
			"ml step=5/10 epoch=-1/-1 50% loss=0.1",
		},
	} {
		var p Progress
		for _, line := range tc.lines {
			next, ok := ParseProgress(line)
			if !ok {
				t.Fatalf("%s: %q is not progress", name, line)
			}
			p.Merge(next)
		}
		if got := brief(p); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
	}
}

func TestMergeLeavesCopiesAlone(t *testing.T) {
	var p Progress
	first, _ := ParseProgress(`::ml:: {"step":1,"loss":0.4}`)
	p.Merge(first)
	shown := p
	second, _ := ParseProgress(`::ml:: {"step":2,"loss":0.3,"acc":1}`)
	p.Merge(second)
	if want := map[string]float64{"loss": 0.4}; !reflect.DeepEqual(shown.Metrics, want) || len(shown.Names) != 1 {
		t.Errorf("a copy handed out has changed to %v", shown.Metrics)
	}
	p.Merge(Progress{})
	if p.Step != 2 {
		t.Errorf("silence changed the step to %g", p.Step)
	}
}

func FuzzParseProgress(f *testing.F) {
	for _, s := range []string{
		`::ml:: {"step":10,"total":100,"loss":0.4}`, ` 45%|████▌| 45/100 [00:10<00:12,  4.4it/s, loss=0.3]`, `{'loss': 0.51, 'epoch': 0.12}`,
		`45/100 [====>....] - ETA: 10s - loss: 0.3`, `Epoch [3/10], Loss: 0.12`, `45it [00:10,  4.40it/s]`, "Epoch 3/10",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := ParseProgress(s)
		if !ok {
			if !reflect.DeepEqual(p, Progress{}) {
				t.Fatalf("%q is no progress, yet gives %+v", s, p)
			}
			return
		}
		for _, v := range []float64{p.Step, p.Total, p.Epoch, p.Epochs, p.Percent} {
			if !finite(v) || v < 0 && v != Unknown {
				t.Fatalf("%q gives the counter %g", s, v)
			}
		}
		if p.Percent > 100 || p.Source == "" || len(p.Names) != len(p.Metrics) || len(p.Names) > maxMetrics || !utf8.ValidString(p.Label) {
			t.Fatalf("%q gives %+v", s, p)
		}
		for n, v := range p.Metrics {
			if math.IsNaN(v) || math.IsInf(v, 0) || n == "" || len(n) > maxName {
				t.Fatalf("%q gives the metric %q = %g", s, n, v)
			}
		}
		var merged Progress
		merged.Merge(p)
		merged.Merge(p)
		if merged.Percent > 100 {
			t.Fatalf("%q merges to %g%%", s, merged.Percent)
		}
	})
}

func BenchmarkParseProgress(b *testing.B) {
	for name, line := range map[string]string{
		"none": "2026-10-01 12:00:00 INFO loaded the shard 17 of the training set from the object store",
		"ml":   `::ml:: {"step":10,"total":100,"loss":0.4}`,
		"tqdm": ` 45%|████▌     | 45/100 [00:10<00:12,  4.4it/s, loss=0.3]`,
		"text": "Epoch [3/10], Step [300/600], Loss: 0.12",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ParseProgress(line)
			}
		})
	}
}
