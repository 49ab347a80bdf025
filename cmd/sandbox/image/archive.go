// Package image is the room for container images: it makes them without a registry and without a
// container engine, as archives that containerd imports.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Config is how a container of an image starts.
type Config struct {
	User       string   `json:"User,omitempty"`
	Env        []string `json:"Env,omitempty"`
	Entrypoint []string `json:"Entrypoint,omitempty"`
	Cmd        []string `json:"Cmd,omitempty"`
	WorkingDir string   `json:"WorkingDir,omitempty"`
}

// Path is the PATH of every image.
const pathEnv = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Normalize gives an image's name the form that Kubernetes and containerd use. It refuses the tag
// latest, which Kubernetes would pull each time.
func Normalize(name string) (string, error) {
	first, _, more := strings.Cut(name, "/")
	switch {
	case name == "" || strings.ContainsAny(name, " @"):
		return "", fmt.Errorf("%q is not the name of an image", name)
	case !more:
		name = "docker.io/library/" + name
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		name = "docker.io/" + name
	}
	tag := name[strings.LastIndex(name, "/"):]
	if i := strings.Index(tag, ":"); i < 0 || tag[i+1:] == "latest" || tag[i+1:] == "" {
		return "", fmt.Errorf("image %s: give it a tag other than latest, which Kubernetes would try to pull each time", name)
	}
	return name, nil
}

// Binary writes an image that holds one static program, its entrypoint, and little else.
func Binary(out io.Writer, name, program string, config Config) error {
	if err := checkStatic(program); err != nil {
		return err
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read the program of image %s: %w", name, err)
	}
	target := "usr/local/bin/" + filepath.Base(program)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	entries := []struct {
		name string
		mode int64
		data []byte
	}{
		{"etc/", 0o755, nil},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n")},
		{"etc/group", 0o644, []byte("root:x:0:\nnonroot:x:65532:\n")},
		{"tmp/", 0o1777, nil},
		{"usr/", 0o755, nil}, {"usr/local/", 0o755, nil}, {"usr/local/bin/", 0o755, nil},
		{target, 0o755, data},
	}
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.data)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("pack image %s: %w", name, err)
		}
		if _, err := w.Write(e.data); err != nil {
			return fmt.Errorf("pack image %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("pack image %s: %w", name, err)
	}
	config.Entrypoint = []string{"/" + target}
	config.Env = append([]string{pathEnv, "HOME=/tmp"}, config.Env...)
	sum := sha256.Sum256(layer.Bytes())
	return writeArchive(out, name, config, &layer, int64(layer.Len()), hex.EncodeToString(sum[:]))
}

// checkStatic refuses a program that needs a loader or libraries, or is for another machine.
func checkStatic(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("%s is not a Linux program: %w", program, err)
	}
	defer func() { _ = f.Close() }()
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	if want, ok := machines[runtime.GOARCH]; ok && f.Machine != want {
		return fmt.Errorf("%s is for %s, this machine is %s", program, f.Machine, runtime.GOARCH)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically: build it with CGO_ENABLED=0", program)
		}
	}
	return nil
}

// writeArchive writes an image of one layer in the form of `docker save`.
func writeArchive(out io.Writer, name string, config Config, layer io.Reader, size int64, sum string) error {
	configJSON, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "created": time.Unix(0, 0).UTC(), "config": config,
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sum}},
		"history": []map[string]any{{"created": time.Unix(0, 0).UTC(), "created_by": "sandbox"}},
	})
	if err != nil {
		return fmt.Errorf("pack image %s: %w", name, err)
	}
	configSum := sha256.Sum256(configJSON)
	configName := hex.EncodeToString(configSum[:]) + ".json"
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": []string{name}, "Layers": []string{sum + ".tar"}}})
	if err != nil {
		return fmt.Errorf("pack image %s: %w", name, err)
	}
	w := tar.NewWriter(out)
	for _, part := range []struct {
		name string
		size int64
		r    io.Reader
	}{
		{configName, int64(len(configJSON)), bytes.NewReader(configJSON)},
		{sum + ".tar", size, layer},
		{"manifest.json", int64(len(manifest)), bytes.NewReader(manifest)},
	} {
		if err := w.WriteHeader(&tar.Header{Name: part.name, Mode: 0o644, Size: part.size, Typeflag: tar.TypeReg}); err != nil {
			return fmt.Errorf("pack image %s: %w", name, err)
		}
		if _, err := io.Copy(w, part.r); err != nil {
			return fmt.Errorf("pack image %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("pack image %s: %w", name, err)
	}
	return nil
}
