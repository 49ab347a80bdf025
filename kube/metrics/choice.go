package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Choice is a Service that was found to be a Prometheus, so that it need not be looked for again.
type Choice struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	// Scheme is https, or empty.
	Scheme string `json:"scheme,omitempty"`
	Port   string `json:"port"`
	Path   string `json:"path,omitempty"`
	Tenant string `json:"tenant,omitempty"`
	// Why is what it was chosen by.
	Why string `json:"why,omitempty"`
}

// candidate is the place that was chosen; false when the choice is none.
func (c Choice) candidate() (candidate, bool) {
	port, err := strconv.Atoi(c.Port)
	if err != nil || port < 1 || port > 65535 || len(validation.IsDNS1123Label(c.Namespace)) > 0 || len(validation.IsDNS1123Label(c.Service)) > 0 || c.Scheme != "" && c.Scheme != "https" || c.Path != below(c.Path) {
		return candidate{}, false
	}
	t := service(c.Namespace, c.Service, c.Scheme, c.Port, c.Path)
	t.why = "kept from before (" + c.Why + ")"
	t.choice.Why = c.Why
	if c.Tenant != "" {
		t.header = map[string][]string{tenantHeader: {c.Tenant}}
		t.choice.Tenant = c.Tenant
	}
	return t, true
}

// Choices are kept in a file, by kubeconfig context. A file that is damaged counts as empty. The zero value keeps nothing.
type Choices struct {
	// Path is the file.
	Path string
}

// maxChoices bounds what is read.
const maxChoices = 1 << 20

func (f Choices) read() map[string]Choice {
	all := map[string]Choice{}
	if f.Path == "" {
		return all
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return all
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxChoices))
	if err != nil || json.Unmarshal(data, &all) != nil {
		return map[string]Choice{}
	}
	return all
}

// Get is the choice of a context; false when there is none that can be used.
func (f Choices) Get(context string) (Choice, bool) {
	c, ok := f.read()[context]
	if ok {
		_, ok = c.candidate()
	}
	return c, ok
}

// Put keeps the choice of a context.
func (f Choices) Put(context string, c Choice) error {
	if f.Path == "" {
		return nil
	}
	all := f.read()
	all[context] = c
	return f.write(all)
}

// Forget drops the choice of a context, and says whether there was one.
func (f Choices) Forget(context string) (bool, error) {
	all := f.read()
	if _, ok := all[context]; !ok {
		return false, nil
	}
	delete(all, context)
	return true, f.write(all)
}

// write replaces the file as a whole: who reads it meanwhile sees the old one or the new one.
func (f Choices) write(all map[string]Choice) error {
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(f.Path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep which Prometheus was found: %w", err)
	}
	temp, err := os.CreateTemp(dir, ".prometheus-*")
	if err != nil {
		return fmt.Errorf("keep which Prometheus was found: %w", err)
	}
	_, err = temp.Write(append(data, '\n'))
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), f.Path)
	}
	if err != nil {
		if e := os.Remove(temp.Name()); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
		return fmt.Errorf("keep which Prometheus was found: %w", err)
	}
	return nil
}
