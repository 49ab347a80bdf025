package metrics

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// queryTimeout bounds one query, so that a Prometheus that hangs costs a person seconds and not minutes.
const queryTimeout = 15 * time.Second

// Source is a Prometheus that answers, or something that speaks its API. It may be used by many at once.
type Source struct {
	api   promv1.API
	conn  *connection
	where string
	why   string
	// choice is how it is found again; nil for a URL.
	choice *Choice
}

// Where says which Prometheus it is: NAMESPACE/SERVICE:PORT, or its URL without a password.
func (s *Source) Where() string { return s.where }

// Why says what it was chosen by, such as "--prometheus" or "label app=prometheus,component=server".
func (s *Source) Why() string { return s.why }

// Choice is how it is found again; false when it has no Service.
func (s *Source) Choice() (Choice, bool) {
	if s.choice == nil {
		return Choice{}, false
	}
	return *s.choice, true
}

// vector asks for the values of an expression now, by the clock of Prometheus. Warnings come as an error beside what
// was answered.
func (s *Source) vector(ctx context.Context, expr string) (model.Vector, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	value, warnings, _, err := s.api.Query(ctx, expr, time.Time{})
	if err != nil {
		return nil, explain("ask Prometheus "+s.where, err)
	}
	vector, ok := value.(model.Vector)
	if !ok {
		return nil, &client.Error{Doing: "ask Prometheus " + s.where, What: "it does not answer as Prometheus does: no vector", Hint: nameAnother}
	}
	if len(warnings) > 0 {
		return vector, &PartialError{Where: s.where, Warnings: warnings}
	}
	return vector, nil
}

// PartialError says that Prometheus answered and warned that something may be missing.
type PartialError struct {
	Where    string
	Warnings []string
}

func (e *PartialError) Error() string {
	return "Prometheus " + e.Where + " warns: " + short(strings.Join(e.Warnings, "; "))
}

// explain says what went wrong with a question in a way that a person can act on.
func explain(doing string, err error) error {
	var done *client.Error
	var answer *promv1.Error
	var wrong *url.Error
	switch {
	case errors.As(err, &done):
		return &client.Error{Doing: doing, What: done.What, Hint: done.Hint, Err: err}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &wrong) && wrong.Timeout():
		return &client.Error{Doing: doing, What: "it does not answer in time", Err: err}
	case errors.As(err, &answer) && answer.Type == promv1.ErrBadResponse:
		return &client.Error{Doing: doing, What: "it does not answer as Prometheus does: " + answer.Msg, Hint: nameAnother, Err: err}
	case errors.As(err, &answer):
		return &client.Error{Doing: doing, What: answer.Msg, Err: err}
	case errors.As(err, &wrong):
		return &client.Error{Doing: doing, What: wrong.Err.Error(), Err: err}
	}
	return &client.Error{Doing: doing, What: err.Error(), Err: err}
}

// newSource speaks to the Prometheus below base.
func newSource(base *url.URL, hc *http.Client, ask connection) (*Source, error) {
	// The base of an API server's proxy has no part that the library would take for a variable.
	under, err := api.NewClient(api.Config{Address: base.String(), Client: hc})
	if err != nil {
		return nil, err
	}
	ask.Client, ask.http, ask.limit = under, hc, maxAnswer
	return &Source{api: promv1.NewAPI(&ask), conn: &ask, where: ask.where}, nil
}
