package plugin

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// timeHelp is the help of a flag that takes a time.
func timeHelp(what string) string {
	return what + ": 7d or 36h ago, 2026-11-03, \"2026-11-03 12:00\" (local time) or RFC 3339"
}

// timeFlag is the value of a flag that takes a time; none for an empty one. Times without a zone are in that of now.
func timeFlag(name, value string, now time.Time) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	t, _, err := parseTime(value, now)
	if err != nil {
		return t, fmt.Errorf("--%s: %w", name, err)
	}
	return t, nil
}

// endFlag is timeFlag for an end: a day ends with its last second.
func endFlag(name, value string, now time.Time) (time.Time, error) {
	t, day, err := parseTime(value, now)
	switch {
	case value == "":
		return time.Time{}, nil
	case err != nil:
		return t, fmt.Errorf("--%s: %w", name, err)
	case day:
		return t.AddDate(0, 0, 1), nil
	}
	return t, nil
}

var daysPattern = regexp.MustCompile(`^(?:(\d{1,5})w)?(?:(\d{1,6})d)?((?:\d+h)?(?:\d+m)?(?:\d+s)?)$`)

// parseTime reads a time as people write it; day says that it is a whole day. A span is that long before now.
func parseTime(s string, now time.Time) (t time.Time, day bool, err error) {
	s = strings.TrimSpace(s)
	if span, ok := parseSpan(s); ok {
		return span(now), false, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, false, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, false, nil
		}
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return t, true, nil
	}
	return time.Time{}, false, fmt.Errorf("%q is no time: write a span such as 7d or 36h, 2026-11-03, \"2026-11-03 12:00\" or 2026-11-03T12:00:00Z", s)
}

// parseSpan reads a span of weeks, days, hours, minutes and seconds, such as 1w, 7d or 1d12h. Days are those of the
// calendar: where the clocks change they have 23 or 25 hours.
func parseSpan(s string) (before func(time.Time) time.Time, ok bool) {
	m := daysPattern.FindStringSubmatch(s)
	if s == "" || m == nil {
		return nil, false
	}
	weeks, _ := strconv.Atoi(m[1])
	days, _ := strconv.Atoi(m[2])
	rest := time.Duration(0)
	if m[3] != "" {
		var err error
		if rest, err = time.ParseDuration(m[3]); err != nil {
			return nil, false
		}
	}
	return func(now time.Time) time.Time { return now.AddDate(0, 0, -7*weeks-days).Add(-rest) }, true
}
