package plugin

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("this machine knows no time zones")
	}
	now := time.Date(2026, 10, 26, 12, 0, 0, 0, berlin) // the day after the clocks went back
	at := func(month time.Month, day, hour, minute int) time.Time {
		return time.Date(2026, month, day, hour, minute, 0, 0, berlin)
	}
	for text, want := range map[string]time.Time{
		"36h":                       now.Add(-36 * time.Hour),
		"2d":                        at(10, 24, 12, 0), // 49 hours ago
		"1w":                        at(10, 19, 12, 0),
		"1d12h":                     at(10, 25, 1, 0), // the night had 25 hours
		"90m":                       at(10, 26, 10, 30),
		"2026-11-03":                at(11, 3, 0, 0),
		" 2026-11-03 12:00 ":        at(11, 3, 12, 0),
		"2026-11-03 12:00:00":       at(11, 3, 12, 0),
		"2026-11-03T12:00":          at(11, 3, 12, 0),
		"2026-11-03T12:00:00+01:00": at(11, 3, 12, 0),
		"2026-11-03T11:00:00Z":      at(11, 3, 12, 0),
		"2026-11-03T11:00:00.000Z":  at(11, 3, 12, 0),
	} {
		got, err := timeFlag("at", text, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"d", "7", "yesterday", "3.11.2026", "2026-13-01", "2026-02-30", "-7d", "7d ago", "9999999999999999h", "12:00"} {
		if got, err := timeFlag("at", text, now); err == nil {
			t.Errorf("%q is taken as %s", text, got)
		}
	}
	if end, err := endFlag("until", "2026-10-25", now); err != nil || !end.Equal(at(10, 26, 0, 0)) {
		t.Errorf("a day ends at %s, %v", end, err)
	}
	if none, err := endFlag("until", "", now); err != nil || !none.IsZero() {
		t.Errorf("no end is %s, %v", none, err)
	}
}
