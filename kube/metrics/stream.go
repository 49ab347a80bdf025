package metrics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// sample is one value of an answer.
type sample struct {
	labels labels
	value  float64
}

// labels are the labels of a series; the name of the metric is one of them.
type labels map[string]string

// each asks for the values of an expression now, by the clock of Prometheus, and calls f with each. The labels that f
// gets are overwritten by the next ones. Thousands of series pass in a few megabytes, where the library keeps them
// three times over. Warnings come as a *PartialError after all values.
func (s *Source) each(ctx context.Context, expr string, f func(sample)) error {
	u := s.conn.URL("/api/v1/query", nil)
	q := u.Query()
	q.Set("query", expr)
	u.RawQuery = q.Encode()
	return s.read(ctx, u.String(), func(r io.Reader) ([]string, error) { return readVector(r, f) })
}

// readVector reads the answer to an instant query as it comes.
func readVector(r io.Reader, f func(sample)) (warnings []string, err error) {
	dec := json.NewDecoder(r)
	known := map[string]string{}
	var kind, failure string
	var partial bool
	element := struct {
		Metric labelReader `json:"metric"`
		Value  [2]any      `json:"value"`
	}{Metric: labelReader{labels{}, known}}
	err = object(dec, func(key string) error {
		switch key {
		case "error":
			return dec.Decode(&failure)
		case "warnings":
			return dec.Decode(&warnings)
		case "isPartial": // VictoriaMetrics
			return dec.Decode(&partial)
		case "data":
			return object(dec, func(key string) error {
				switch key {
				case "resultType":
					return dec.Decode(&kind)
				case "result":
					return array(dec, func() error {
						clear(element.Metric.labels)
						element.Value = [2]any{}
						if err := dec.Decode(&element); err != nil {
							return err
						}
						text, _ := element.Value[1].(string)
						v, err := strconv.ParseFloat(text, 64)
						if err != nil {
							return fmt.Errorf("%q is no value", short(text))
						}
						f(sample{element.Metric.labels, v})
						return nil
					})
				}
				return skip(dec)
			})
		}
		return skip(dec)
	})
	switch {
	case failure != "":
		return nil, &client.Error{What: short(failure)}
	case err != nil:
		return nil, fmt.Errorf("it does not answer as Prometheus does: %w", err)
	case kind != "vector":
		return nil, errors.New("it does not answer as Prometheus does: no vector")
	case partial:
		warnings = append(warnings, "some storage nodes did not answer")
	}
	return warnings, nil
}

// object calls f for each key of an object, to take in the value.
func object(dec *json.Decoder, f func(key string) error) error {
	if err := delim(dec, '{'); err != nil {
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if err := f(name); err != nil {
			return err
		}
	}
	return delim(dec, '}')
}

// array calls f for each element of an array, to take it in.
func array(dec *json.Decoder, f func() error) error {
	if err := delim(dec, '['); err != nil {
		return err
	}
	for dec.More() {
		if err := f(); err != nil {
			return err
		}
	}
	return delim(dec, ']')
}

func delim(dec *json.Decoder, want json.Delim) error {
	token, err := dec.Token()
	switch {
	case err != nil:
		return err
	case token != want:
		return fmt.Errorf("%v where %v should be", token, want)
	}
	return nil
}

func skip(dec *json.Decoder) error {
	var ignored json.RawMessage
	return dec.Decode(&ignored)
}

// labelReader reads labels into one map, and keeps each text once.
type labelReader struct {
	labels labels
	known  map[string]string
}

// UnmarshalJSON is given valid JSON, of which only an object of texts is taken.
func (r *labelReader) UnmarshalJSON(data []byte) error {
	for rest := data; ; {
		var key, value string
		var err error
		if key, rest, err = r.next(rest); err != nil || key == "" && rest == nil {
			return err
		}
		if rest = bytes.TrimLeft(rest, ": \t\r\n"); !bytes.HasPrefix(rest, []byte(`"`)) {
			return errors.New("a label whose value is no text")
		}
		if value, rest, err = r.next(rest); err != nil {
			return err
		}
		r.labels[key] = value
	}
}

// next is the next text and what follows it; no text and nothing at the end.
func (r *labelReader) next(data []byte) (string, []byte, error) {
	start := bytes.IndexByte(data, '"')
	if start < 0 {
		return "", nil, nil
	}
	for end := start + 1; end < len(data); end++ {
		switch data[end] {
		case '\\':
			end++
		case '"':
			text, err := r.text(data[start : end+1])
			return text, data[end+1:], err
		}
	}
	return "", nil, errors.New("a text without an end")
}

func (r *labelReader) text(quoted []byte) (string, error) {
	inner := quoted[1 : len(quoted)-1]
	if text, ok := r.known[string(inner)]; ok {
		return text, nil
	}
	text := string(inner)
	if bytes.IndexByte(inner, '\\') >= 0 {
		if err := json.Unmarshal(quoted, &text); err != nil {
			return "", err
		}
	}
	r.known[string(inner)] = text
	return text, nil
}
