package image_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/image"
)

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"train:v1":                           "docker.io/library/train:v1",
		"kubectl-ml/kubectl-ml:dev":          "docker.io/kubectl-ml/kubectl-ml:dev",
		"registry.local:5000/a/b:c":          "registry.local:5000/a/b:c",
		"localhost/a:b":                      "localhost/a:b",
		"":                                   "",
		"a b:c":                              "",
		"train":                              "",
		"train:latest":                       "",
		"registry.local:5000/train":          "",
		"docker.io/kubectl-ml/x@sha256:0000": "",
	} {
		got, err := image.Normalize(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Normalize(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestBinaryPacksAStaticProgram(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "hello")
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(1) }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var archive bytes.Buffer
	if err := image.Binary(&archive, "docker.io/test/hello:1", program, image.Config{User: "65532:65532"}); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(&archive); ; {
		h, err := r.Next()
		if err == io.EOF { //nolint:errorlint // tar promises this value
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest: %v %s", err, files["manifest.json"])
	}
	if manifest[0].RepoTags[0] != "docker.io/test/hello:1" || files[manifest[0].Layers[0]] == nil || files[manifest[0].Config] == nil {
		t.Errorf("manifest = %+v, which does not name the files there", manifest[0])
	}
}

func TestBinaryRefusesWhatIsNoProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := image.Binary(io.Discard, "a:b", file, image.Config{}); err == nil {
		t.Error("packed a script as a static program")
	}
}
