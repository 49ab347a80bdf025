package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

const (
	// maxSource is the most that a source folder may weigh, in bytes; a ConfigMap holds 1 MiB.
	maxSource = 1_000_000
	// maxSourceFiles bounds the pod's list of mounted files.
	maxSourceFiles = 2000
	ignoreFile     = ".mlignore"
)

var keyPattern = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

// sourceFile is one file of the folder, its path with slashes and relative to it.
type sourceFile struct {
	path string
	data []byte
}

// Package packs the files of a source folder into an immutable ConfigMap whose name is the hash of its content,
// so that the same code is the same object and a run never sees an edit made after it started.
// Every file is mounted readable and executable: the executable bit of the folder is no part of it.
func Package(ctx context.Context, dir, pipeline, namespace string) (*corev1.ConfigMap, *SourceRef, error) {
	files, err := readSource(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	ref := &SourceRef{
		ConfigMap: fitName(kube.PrefixSource+pipeline, "-"+sourceHash(files), maxJobName),
		Keys:      make(map[string]string, len(files)),
	}
	ref.Repo, ref.Commit, ref.Dirty = gitState(ctx, dir)
	cm := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Name: ref.ConfigMap, Namespace: namespace,
			Labels: map[string]string{
				kube.LabelManagedBy: kube.ManagedBy,
				kube.LabelKind:      kube.KindSource,
				kube.LabelPipeline:  pipeline,
			},
		},
		Immutable:  new(true),
		Data:       map[string]string{},
		BinaryData: map[string][]byte{},
	}
	if ref.Commit != "" {
		cm.Annotations = map[string]string{kube.AnnotationGitCommit: ref.CommitText()}
	}
	for _, f := range files {
		key := fileKey(f.path)
		ref.Keys[key] = f.path
		if utf8.Valid(f.data) {
			cm.Data[key] = string(f.data)
		} else {
			cm.BinaryData[key] = f.data
		}
	}
	return cm, ref, nil
}

// fileKey is the ConfigMap key of a path: its slashes as "..", or hex where that would not read back as the same path.
func fileKey(path string) string {
	key := strings.ReplaceAll(path, "/", "..")
	if keyPattern.MatchString(key) && len(key) <= 253 && !strings.HasPrefix(key, "..") && !strings.HasPrefix(key, "hex-") &&
		strings.ReplaceAll(key, "..", "/") == path {
		return key
	}
	key = "hex-" + hex.EncodeToString([]byte(path))
	if len(key) > 253 {
		sum := sha256.Sum256([]byte(path))
		key = "hex-" + hex.EncodeToString(sum[:])
	}
	return key
}

func sourceHash(files []sourceFile) string {
	h := sha256.New()
	for _, f := range files {
		h.Write([]byte(strconv.Itoa(len(f.path)) + " " + f.path + " " + strconv.Itoa(len(f.data)) + "\n"))
		h.Write(f.data)
	}
	return hex.EncodeToString(h.Sum(nil)[:5])
}

// readSource reads the folder's files in the order of their paths.
func readSource(ctx context.Context, dir string) ([]sourceFile, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("source folder: %w", err)
	}
	if info, err := os.Stat(root); err != nil {
		return nil, fmt.Errorf("source folder: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("source %s is a file: name the folder that it is in", dir)
	}
	ignore, err := readIgnore(root)
	if err != nil {
		return nil, err
	}
	w := walk{root: root, dir: dir, ignore: ignore}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("source folder: %w", err)
		}
		return w.visit(path, entry)
	})
	if err != nil {
		return nil, err
	}
	if len(w.files) == 0 {
		return nil, fmt.Errorf("source folder %s has no files to package", dir)
	}
	if err := w.tooMuch(); err != nil {
		return nil, err
	}
	files := make([]sourceFile, 0, len(w.files))
	for _, rel := range slices.Sorted(maps.Keys(w.files)) {
		data, err := os.ReadFile(w.files[rel])
		if err != nil {
			return nil, fmt.Errorf("source folder: %w", err)
		}
		files = append(files, sourceFile{path: rel, data: data})
	}
	return files, nil
}

func readIgnore(root string) (*patternmatcher.PatternMatcher, error) {
	data, err := os.ReadFile(filepath.Join(root, ignoreFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("source folder: %w", err)
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ignoreFile, err)
	}
	m, err := patternmatcher.New(append(patterns, "**/.git", "**/__pycache__", "**/.ipynb_checkpoints", "**/*.pyc", ignoreFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: write patterns as in a .dockerignore", ignoreFile, err)
	}
	return m, nil
}

// walk gathers the files of a folder.
type walk struct {
	// root is the folder without symbolic links, dir as the user named it.
	root, dir string
	ignore    *patternmatcher.PatternMatcher
	// files are the places of the files by their path below the folder.
	files map[string]string
	sizes map[string]int64
	total int64
}

func (w *walk) visit(path string, entry fs.DirEntry) error {
	rel, err := filepath.Rel(w.root, path)
	if err != nil {
		return fmt.Errorf("source folder: %w", err)
	}
	if rel == "." {
		return nil
	}
	ignored, err := w.ignore.MatchesOrParentMatches(rel)
	if err != nil {
		return fmt.Errorf("%s: %w", ignoreFile, err)
	}
	switch {
	case entry.IsDir():
		// A pattern with ! may bring back files below an ignored folder.
		if ignored && !w.ignore.Exclusions() {
			return filepath.SkipDir
		}
		return nil
	case ignored:
		return nil
	case entry.Type()&fs.ModeSymlink != 0:
		return w.link(path, rel)
	case !entry.Type().IsRegular():
		return fmt.Errorf("source: %s is not a regular file: remove it or name it in %s", rel, ignoreFile)
	}
	info, err := entry.Info()
	if err != nil {
		return fmt.Errorf("source folder: %w", err)
	}
	w.add(rel, path, info.Size())
	return nil
}

// link follows a symbolic link to a file of the same folder.
func (w *walk) link(path, rel string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("source: %s is a broken link: remove it or name it in %s", rel, ignoreFile)
	}
	inside, err := filepath.Rel(w.root, target)
	if err != nil || inside == ".." || strings.HasPrefix(inside, ".."+string(filepath.Separator)) {
		return fmt.Errorf("source: %s links to a place outside of %s: copy the file into it, or name the link in %s", rel, w.dir, ignoreFile)
	}
	info, err := os.Stat(target)
	if err != nil {
		return fmt.Errorf("source folder: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("source: %s links to something that is not a file: name it in %s", rel, ignoreFile)
	}
	w.add(rel, target, info.Size())
	return nil
}

func (w *walk) add(rel, path string, size int64) {
	if w.files == nil {
		w.files, w.sizes = map[string]string{}, map[string]int64{}
	}
	rel = filepath.ToSlash(rel)
	w.files[rel], w.sizes[rel] = path, size
	w.total += size
}

// tooMuch is the error of a folder that does not fit, with its largest files and the ways out.
func (w *walk) tooMuch() error {
	const ways = "name what stages do not need in " + ignoreFile + ", or bring the code another way: in the image, by git clone in the command, or on the workspace volume"
	if len(w.files) > maxSourceFiles {
		return fmt.Errorf("source folder %s has %d files, at most %d fit: %s", w.dir, len(w.files), maxSourceFiles, ways)
	}
	if w.total <= maxSource {
		return nil
	}
	paths := slices.SortedFunc(maps.Keys(w.sizes), func(a, b string) int {
		if d := w.sizes[b] - w.sizes[a]; d != 0 {
			return int(max(min(d, 1), -1))
		}
		return strings.Compare(a, b)
	})
	var largest []string
	for _, p := range paths[:min(5, len(paths))] {
		largest = append(largest, fmt.Sprintf("%s (%d bytes)", p, w.sizes[p]))
	}
	return fmt.Errorf("source folder %s has %d bytes, at most %d fit; the largest: %s: %s", w.dir, w.total, maxSource, strings.Join(largest, ", "), ways)
}

// SourceFiles are the files of a source ConfigMap by path. One whose path was too long for a key goes by its key.
func SourceFiles(cm *corev1.ConfigMap) map[string][]byte {
	files := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for key, text := range cm.Data {
		files[keyPath(key)] = []byte(text)
	}
	for key, data := range cm.BinaryData {
		files[keyPath(key)] = data
	}
	return files
}

// keyPath is the path whose fileKey is key.
func keyPath(key string) string {
	digits, inHex := strings.CutPrefix(key, "hex-")
	if !inHex {
		return strings.ReplaceAll(key, "..", "/")
	}
	path, err := hex.DecodeString(digits)
	if err != nil || !utf8.Valid(path) || fileKey(string(path)) != key { // what is no text is the hash of a long path
		return key
	}
	return string(path)
}
