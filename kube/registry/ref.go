package registry

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Limits of names. A version's object is mlversion-MODEL-N, and its name is also a label value of what serves it.
const (
	// MaxModelName and MaxAliasName are in characters.
	MaxModelName = 40
	MaxAliasName = 40
	maxVersion   = 999_999_999
)

// Latest stands for the highest version that is not archived. It moves by itself, so it is no alias that can be set.
const Latest = "latest"

// Ref names a model or a version of one, as a person types it: MODEL, MODEL:7, MODEL@production or MODEL@latest.
// At most one of Version and Alias is set.
type Ref struct {
	Model   string
	Version int
	Alias   string
}

func (r Ref) String() string {
	switch {
	case r.Version > 0:
		return r.Model + ":" + strconv.Itoa(r.Version)
	case r.Alias != "":
		return r.Model + "@" + r.Alias
	}
	return r.Model
}

// ParseRef reads MODEL, MODEL:VERSION or MODEL@ALIAS, with or without model/ before it.
func ParseRef(s string) (Ref, error) {
	text := strings.TrimPrefix(s, "model/")
	i := strings.IndexAny(text, ":@")
	if i < 0 {
		return Ref{Model: text}, CheckModel(text)
	}
	r, rest := Ref{Model: text[:i]}, text[i+1:]
	if err := CheckModel(r.Model); err != nil {
		return Ref{}, err
	}
	if text[i] == '@' {
		if n, ok := number(rest); ok {
			return Ref{}, fmt.Errorf("%q names version %d by @, which is for aliases: write %s:%d", s, n, r.Model, n)
		}
		r.Alias = rest
		if rest == Latest {
			return r, nil
		}
		return r, checkAliasName(rest)
	}
	n, ok := number(rest)
	switch {
	case ok:
		r.Version = n
		return r, nil
	case rest == Latest || checkAliasName(rest) == nil:
		return Ref{}, fmt.Errorf("%q is no version: versions are numbers, as in %s:7; an alias is written %s@%s", rest, r.Model, r.Model, rest)
	}
	return Ref{}, fmt.Errorf("%q is no version: versions are whole numbers from 1, as in %s:7", rest, r.Model)
}

// number reads a version as it is written in names: decimal digits without sign or leading zeros.
func number(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n <= maxVersion && strconv.Itoa(n) == s
}

// CheckModel refuses what cannot be the name of a model, and proposes a name that can.
func CheckModel(name string) error {
	if len(name) <= MaxModelName && len(validation.IsDNS1123Label(name)) == 0 {
		return nil
	}
	if name == "" {
		return fmt.Errorf("the name of the model is missing: write MODEL, MODEL:VERSION or MODEL@ALIAS")
	}
	const rule = "lower-case letters, digits and hyphens, 40 characters at most"
	shown := name
	if len(shown) > 60 {
		shown = shown[:60] + "..."
	}
	if p := propose(name); p != "" {
		return fmt.Errorf("%q cannot be the name of a model (%s): use for example %s", shown, rule, p)
	}
	return fmt.Errorf("%q cannot be the name of a model (%s)", shown, rule)
}

// propose makes a name of a model out of a text; empty when nothing of it can be used.
func propose(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if s := b.String(); s != "" && !strings.HasSuffix(s, "-") {
			b.WriteByte('-')
		}
		if b.Len() == MaxModelName {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}

var (
	aliasPattern   = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	versionPattern = regexp.MustCompile(`^v[0-9]+$`)
)

// checkAliasName refuses what cannot be an alias that somebody sets.
func checkAliasName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the alias is missing: write MODEL@production, for example")
	case name == Latest:
		return fmt.Errorf("latest cannot be set: it is always the highest version that is not archived")
	case versionPattern.MatchString(name):
		return fmt.Errorf("%q cannot be an alias: it reads like a version", name)
	case len(name) > MaxAliasName || !aliasPattern.MatchString(name):
		return fmt.Errorf("%.60q cannot be an alias: lower-case letters, digits and hyphens, beginning with a letter, %d characters at most", name, MaxAliasName)
	}
	return nil
}

// Production is the alias that asks most: what it names must not be rejected, and must be approved where the model
// requires that. The same goes for aliases that begin with production-, such as production-eu.
const Production = "production"

// Protected says whether an alias is production or one of its kind.
func Protected(alias string) bool {
	return alias == Production || strings.HasPrefix(alias, Production+"-")
}
