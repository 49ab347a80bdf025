package registry

import (
	"strings"
	"testing"
)

func TestParseRef(t *testing.T) {
	for in, want := range map[string]Ref{
		"house-prices":            {Model: "house-prices"},
		"house-prices:7":          {Model: "house-prices", Version: 7},
		"house-prices@production": {Model: "house-prices", Alias: "production"},
		"house-prices@latest":     {Model: "house-prices", Alias: "latest"},
		"model/house-prices:12":   {Model: "house-prices", Version: 12},
		"7:7":                     {Model: "7", Version: 7},
	} {
		got, err := ParseRef(in)
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", in, got, err)
		}
		if s := got.String(); s != strings.TrimPrefix(in, "model/") {
			t.Errorf("%s: written as %s", in, s)
		}
	}
	for in, want := range map[string]string{
		"":                        "the name of the model is missing",
		":7":                      "the name of the model is missing",
		"House_Prices.v2":         "use for example house-prices-v2",
		"house.prices":            "use for example house-prices",
		"???":                     "lower-case letters, digits and hyphens, 40 characters at most)",
		strings.Repeat("a.b", 80): "use for example a-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba",
		"house-prices:":           "whole numbers from 1",
		"house-prices:0":          "whole numbers from 1",
		"house-prices:-1":         "whole numbers from 1",
		"house-prices:07":         "whole numbers from 1",
		"house-prices:7:8":        "whole numbers from 1",
		"house-prices:9999999999": "whole numbers from 1",
		"house-prices:production": "an alias is written house-prices@production",
		"house-prices:latest":     "an alias is written house-prices@latest",
		"house-prices@7":          "write house-prices:7",
		"house-prices@":           "the alias is missing",
		"house-prices@v7":         "reads like a version",
		"house-prices@Prod":       "cannot be an alias",
		"house-prices@\x1b[31m":   `cannot be an alias`,
	} {
		if _, err := ParseRef(in); err == nil || !strings.Contains(err.Error(), want) || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
	if err := CheckModel(propose(strings.Repeat("Ä.b-", 50))); err != nil {
		t.Errorf("the name that is proposed is refused: %v", err)
	}
}

func TestNumbersGiven(t *testing.T) {
	n, err := parseNumbers("9-7")
	if err == nil {
		t.Errorf("9-7 is %v", n)
	}
	for _, text := range []string{"x", "0", "3,-1", "1-2-3", "3-"} {
		if n, err := parseNumbers(text); err == nil {
			t.Errorf("%q is %v", text, n)
		}
	}
	n, err = parseNumbers("7-9, 3,,4")
	if err != nil || n.String() != "3-4,7-9" || n.count() != 5 || !n.has(8) || n.has(5) {
		t.Errorf("%v %v", n, err)
	}
	if n.under(9) != 6 || n.under(5) != 5 || n.over(3) != 5 || n.over(7) != 10 || (numbers{{1, 4}}).under(3) != 0 {
		t.Errorf("what is beside %v: %d %d %d %d", n, n.under(9), n.under(5), n.over(3), n.over(7))
	}
	if n = n.with(5, 6); n.String() != "3-9" {
		t.Errorf("with 5-6: %v", n)
	}
	if n = n.without(6).without(3).without(20); n.String() != "4-5,7-9" || n.count() != 5 {
		t.Errorf("without 6 and 3: %v", n)
	}
	if n = n.without(4).without(5).without(9).without(7).without(8); n.String() != "" {
		t.Errorf("without all: %v", n)
	}
}

func TestDirectionOf(t *testing.T) {
	for metric, want := range map[string]Direction{
		"rmse": Lower, "val_loss": Lower, "test/RMSE": Lower, "accuracy_loss": Lower, "roc-auc@5": Higher, "r2": Higher, "F1": Higher,
		"mAP@0.5": Higher, "custom": Higher, "epochs": "",
	} {
		got, ok := DirectionOf(metric, map[string]Direction{"custom": Higher, "epochs": "sideways"})
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q", metric, got)
		}
	}
	if d, _ := DirectionOf("rmse", map[string]Direction{"rmse": Higher}); d != Higher {
		t.Error("what is declared does not count")
	}
}
