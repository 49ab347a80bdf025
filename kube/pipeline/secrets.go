package pipeline

import (
	"regexp"
	"strconv"
	"strings"
)

// secretFix is what to do about a credential in the file.
const secretFix = "put it into a Secret and name that: valueFrom: {secretKeyRef: {name: SECRET, key: KEY}}, or envFrom: [{secretRef: {name: SECRET}}]"

var (
	// secretName finds names of variables that hold credentials.
	secretName = regexp.MustCompile(`(?i)(_KEY|^APIKEY|TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIALS?)$`)
	// secretShape finds values that are credentials whatever their name: AWS, GitHub, Hugging Face, OpenAI, Google, Slack,
	// private keys, and passwords in URLs.
	secretShape = regexp.MustCompile(`\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bhf_[A-Za-z0-9]{20,}|` +
		`\bsk-[A-Za-z0-9_-]{20,}|\bAIza[0-9A-Za-z_-]{35}|\bxox[abprs]-[A-Za-z0-9-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY-----|://[^/\s:@$]+:[^/\s@$]+@`)
)

// secretValue warns of a value that looks like a credential, by its shape or, for variables, by its name.
// The value itself never stands in the message.
func (v *validator) secretValue(at *path, name string, value any) {
	s, ok := value.(string)
	if !ok || s == "" {
		return
	}
	switch {
	case secretShape.MatchString(s):
		v.warn(at, "looks like a credential, which everybody who can read the file or the Job can use", secretFix)
	case name != "" && secretName.MatchString(name) && !harmless(s):
		v.warn(at, name+" looks like a credential, which everybody who can read the file or the Job can use", secretFix)
	}
}

// harmless are values that no credential has: references, paths, numbers and words of one kind.
func harmless(s string) bool {
	if strings.HasPrefix(s, "$(") || strings.HasPrefix(s, "/") || len(s) < 4 {
		return true
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return true
	}
	return s == "true" || s == "false" || s == "none" || s == "null"
}
