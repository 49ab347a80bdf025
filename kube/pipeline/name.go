package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

const (
	// maxJobName is the limit of a Job's name, which becomes a label of its pods.
	maxJobName = 63
	// maxCronJobName leaves room for the 11 characters that the CronJob controller appends.
	maxCronJobName = 52
)

// JobName is the name of the Job, or JobSet, of one child of the stage: RUN-STAGE, then -CHILD when the stage has more than
// one child, then -rATTEMPT from the second attempt on. It is at most 63 characters, less what is put behind it for each
// rank of a distributed stage; when the parts are longer, RUN-STAGE is trimmed and a hash of the whole stands in for the rest.
func (s PlannedStage) JobName(run string, child, attempt int) string {
	base, suffix, limit := run+"-"+s.Name, "", maxJobName
	if len(s.Children) > 1 {
		suffix += "-" + strconv.Itoa(child)
	}
	if attempt > 1 {
		suffix += "-r" + strconv.Itoa(attempt)
	}
	if s.Distributed() {
		// It is the name of a Service too, and those begin with a letter.
		if base[0] >= '0' && base[0] <= '9' {
			base = "ml-" + base
		}
		limit -= len("-" + strconv.Itoa(s.Replicas-1))
	}
	if s.UsesJobSet() {
		limit -= len(jobSetRanks) + podSuffix
	}
	return fitName(base, suffix, limit)
}

// fitName is base+suffix, or a trimmed base, 8 hex digits of the hash of the whole, and suffix.
func fitName(base, suffix string, limit int) string {
	if len(base)+len(suffix) <= limit {
		return base + suffix
	}
	sum := sha256.Sum256([]byte(base + "\x00" + suffix))
	hash := hex.EncodeToString(sum[:4])
	keep := max(limit-len(suffix)-len(hash)-1, 1)
	return strings.TrimRight(base[:min(keep, len(base))], "-.") + "-" + hash + suffix
}

// envName is the part of ML_PARAM_<NAME> that stands for a parameter.
func envName(param string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, param)
}
