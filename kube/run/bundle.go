package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Bundle is a pipeline file with all that it refers to: from a folder, or as applied to the cluster.
type Bundle struct {
	Pipeline *pipeline.Pipeline
	Warnings pipeline.Problems
	// Text is the pipeline file, File its name for messages.
	File string
	Text []byte
	// Files are the manifests that stages name, by their path in the file.
	Files map[string][]byte
	// Source is the packaged source folder, SourceMap its ConfigMap; SourceMap is nil when it is in the cluster already.
	Source    *pipeline.SourceRef
	SourceMap *corev1.ConfigMap
}

// Keys of an applied pipeline's ConfigMap; manifests stand under keyFile + their number in keyFiles.
const (
	keyText   = "pipeline.yaml"
	keySource = "source.json"
	keyFiles  = "files.json"
)

// maxFile bounds what is read as a pipeline file; ConfigMaps hold no more.
const maxFile = 3 << 20

// ReadFile reads and checks a pipeline file; "-" is stdin, whose relative paths start in the working directory.
func ReadFile(file string, stdin io.Reader) (*Bundle, error) {
	text, err := readText(file, stdin)
	if err != nil {
		return nil, err
	}
	b := &Bundle{File: file, Text: text, Files: map[string][]byte{}}
	if b.Pipeline, b.Warnings, err = pipeline.Load(file, text); err != nil {
		return b, err
	}
	dir := "."
	if file != "-" {
		dir = filepath.Dir(file)
	}
	for _, name := range b.manifests() {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return b, fmt.Errorf("%s: the manifest of a stage cannot be read: %w", file, err)
		}
		b.Files[name] = content
	}
	return b, nil
}

func readText(file string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("pipeline file %s not found: create one with: kubectl ml init   or name another with -f", file)
		}
		if err != nil {
			return nil, fmt.Errorf("open the pipeline file: %w", err)
		}
		defer func() { _ = f.Close() }()
		if st, err := f.Stat(); err == nil && st.IsDir() {
			return nil, fmt.Errorf("%s is a folder: name the pipeline file, such as -f %s", file, filepath.Join(file, "pipeline.yaml"))
		}
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the pipeline file %s: %w", file, err)
	}
	return text, nil
}

// manifests are the paths of all manifest files that stages name, each once.
func (b *Bundle) manifests() []string {
	var out []string
	seen := map[string]bool{"": true}
	for _, s := range b.Pipeline.Spec.Stages {
		path := s.Manifest
		if s.Deploy != nil {
			path = s.Deploy.Manifest
		}
		if !seen[path] {
			seen[path] = true
			out = append(out, path)
		}
	}
	return out
}

// Pack packages the source folder of a bundle that came from a file.
func (b *Bundle) Pack(ctx context.Context, namespace string) error {
	if b.Pipeline.Spec.Source == "" || b.Source != nil {
		return nil
	}
	dir := b.Pipeline.Spec.Source
	if b.File != "-" && !filepath.IsAbs(dir) {
		dir = filepath.Join(filepath.Dir(b.File), dir)
	}
	var err error
	b.SourceMap, b.Source, err = pipeline.Package(ctx, dir, b.Pipeline.Metadata.Name, namespace)
	return err
}

// Resolve makes the plan of a run of the bundle.
func (b *Bundle) Resolve(set, setFile []string, sel pipeline.Selection) (*pipeline.Plan, error) {
	plan, err := pipeline.Resolve(b.Pipeline, pipeline.Revision(b.Text), pipeline.Options{
		Set: set, SetFile: setFile, Selection: sel, ReadFile: b.read,
	})
	if err != nil {
		return nil, err
	}
	plan.Source = b.Source
	return plan, nil
}

// read gives the manifests as bundled, and the files that --set-file names from the disk.
func (b *Bundle) read(path string) ([]byte, error) {
	if content, ok := b.Files[path]; ok {
		return content, nil
	}
	return os.ReadFile(path)
}

// applied is the ConfigMap of the bundle as an applied pipeline.
func (b *Bundle) applied(namespace, by string) (*corev1.ConfigMap, error) {
	p := b.Pipeline
	cm := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Name: kube.PrefixPipeline + p.Metadata.Name, Namespace: namespace,
			Labels: map[string]string{
				kube.LabelManagedBy: kube.ManagedBy, kube.LabelKind: kube.KindPipeline, kube.LabelPipeline: p.Metadata.Name,
			},
			Annotations: map[string]string{
				kube.AnnotationRevision:  pipeline.Revision(b.Text),
				kube.AnnotationAppliedBy: by,
			},
		},
		Data: map[string]string{keyText: string(b.Text)},
	}
	if b.Source != nil {
		text, err := json.Marshal(b.Source)
		if err != nil {
			return nil, fmt.Errorf("write the source of pipeline %s: %w", p.Metadata.Name, err)
		}
		cm.Data[keySource] = string(text)
		cm.Labels[kube.LabelSource] = b.Source.ConfigMap
		if b.Source.Commit != "" {
			cm.Annotations[kube.AnnotationGitCommit] = b.Source.CommitText()
		}
	}
	if len(b.Files) > 0 {
		files := map[string]string{}
		for path, content := range b.Files {
			files[path] = string(content)
		}
		text, err := json.MarshalIndent(files, "", " ")
		if err != nil {
			return nil, fmt.Errorf("write the manifests of pipeline %s: %w", p.Metadata.Name, err)
		}
		cm.Data[keyFiles] = string(text)
	}
	return cm, nil
}

// ReadApplied reads a pipeline that was applied to the cluster.
func ReadApplied(ctx context.Context, c *client.Client, name string) (*Bundle, error) {
	cm, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Get(ctx, kube.PrefixPipeline+name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, &client.Error{
			What: fmt.Sprintf("no file and no applied pipeline is named %q in namespace %s", name, c.Namespace),
			Hint: "apply it with: kubectl ml apply -f pipeline.yaml   or name its file with -f", Err: err,
		}
	}
	if err != nil {
		return nil, c.Explain("read pipeline "+name, err)
	}
	b := &Bundle{File: cm.Name + "/" + keyText, Text: []byte(cm.Data[keyText]), Files: map[string][]byte{}}
	if b.Pipeline, b.Warnings, err = pipeline.Load(b.File, b.Text); err != nil {
		return b, err
	}
	if text := cm.Data[keySource]; text != "" {
		if err := json.Unmarshal([]byte(text), &b.Source); err != nil {
			return b, fmt.Errorf("the applied pipeline %s is damaged: key %s: %w; apply it again", name, keySource, err)
		}
	}
	if text := cm.Data[keyFiles]; text != "" {
		files := map[string]string{}
		if err := json.Unmarshal([]byte(text), &files); err != nil {
			return b, fmt.Errorf("the applied pipeline %s is damaged: key %s: %w; apply it again", name, keyFiles, err)
		}
		for path, content := range files {
			b.Files[path] = []byte(content)
		}
	}
	return b, nil
}
