package plugin

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Set by the linker in releases; see the Makefile.
var (
	version string
	commit  string
	date    string
)

// VersionInfo tells which program this is.
type VersionInfo struct {
	// Version is a semantic version with v, or v0.0.0-dev.
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"`
	Go      string `json:"go"`
	// Platform is GOOS/GOARCH.
	Platform string `json:"platform"`
	// Server is the cluster's version, when it was asked.
	Server string `json:"server,omitempty"`
}

// Version is of the program that runs: as linked in, else as the module system knows it.
func Version() VersionInfo {
	v := VersionInfo{Version: version, Commit: commit, Date: date, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if v.Version != "" {
		return v
	}
	v.Version = "v0.0.0-dev"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if strings.HasPrefix(info.Main.Version, "v") {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Date = s.Value
		}
	}
	return v
}

type versionOptions struct {
	Client bool
	Output output
}

func newVersionCmd(f *Factory, do func(context.Context, *Factory, versionOptions) error) *cobra.Command {
	var o versionOptions
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of kubectl ml and of the cluster",
		Example: `  kubectl ml version
  kubectl ml version --client -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), f, o) },
	}
	c.Flags().BoolVar(&o.Client, "client", false, "do not ask the cluster")
	o.Output.add(c, false)
	return c
}

func runVersion(_ context.Context, f *Factory, o versionOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	v := Version()
	var serverErr error
	if !o.Client {
		v.Server, serverErr = serverVersion(f)
	}
	if !o.Output.table() {
		if err := f.one(o.Output, item{kind: "Version", name: v.Version, fact: v}); err != nil {
			return err
		}
		return serverErr
	}
	f.print("Client Version: %s\n", v.Version)
	if v.Commit != "" {
		f.print("Commit: %s %s\n", v.Commit, v.Date)
	}
	f.print("Go: %s %s\n", v.Go, v.Platform)
	if v.Server != "" {
		f.print("Server Version: %s\n", v.Server)
	}
	return serverErr
}

func serverVersion(f *Factory) (string, error) {
	c, err := f.Client()
	if err != nil {
		return "", err
	}
	info, err := c.Kube.Discovery().ServerVersion()
	if err != nil {
		return "", c.Explain("ask the cluster for its version", err)
	}
	if info.GitVersion == "" {
		return "", fmt.Errorf("the cluster at %s gave no version", c.Host)
	}
	return info.GitVersion, nil
}
