package pipeline

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// gitState describes the work tree that a folder is in; all empty without git, without a repository or without a commit.
func gitState(ctx context.Context, dir string) (repo, commit string, dirty bool) {
	commit, err := git(ctx, dir, "rev-parse", "HEAD")
	if err != nil {
		return "", "", false
	}
	status, err := git(ctx, dir, "status", "--porcelain", "--untracked-files=all", "--", ".")
	// A state that cannot be told counts as changed.
	dirty = err != nil || status != ""
	if remote, err := git(ctx, dir, "remote", "get-url", "origin"); err == nil {
		repo = withoutCredentials(remote)
	}
	return repo, commit, dirty
}

// git runs one read-only command of git, without locks and without asking anything.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	// A repository can name a program as its file system monitor; looking at a folder must not run it.
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "-c", "core.fsmonitor=false"}, args...)...)
	// Within a git hook these point at another repository.
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains([]string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}, name)
	})
	cmd.Env = slices.Concat(env, []string{"GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C"})
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// withoutCredentials removes user and password from a remote's URL; git@host:path stays, its user is no secret.
func withoutCredentials(remote string) string {
	if !strings.Contains(remote, "://") {
		return remote
	}
	u, err := url.Parse(remote)
	if err != nil {
		// What cannot be read may hold a password.
		return ""
	}
	if u.Scheme == "ssh" && u.User != nil {
		u.User = url.User(u.User.Username())
	} else {
		u.User = nil
	}
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}
