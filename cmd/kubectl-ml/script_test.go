package main

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts that compare it")

// TestMain lets scripts call this program as kubectl-ml.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kubectl-ml": main})
}

// TestScripts are those that need no cluster.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), Cmds: commands(), RequireUniqueNames: true, UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "none"))
			return pipelines(env)
		},
	})
}

// TestClusterScripts run against the API server of the sandbox, each script in a namespace of its own.
func TestClusterScripts(t *testing.T) {
	sandbox := kubetest.Open(t)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script", "cluster"), Cmds: commands(), RequireUniqueNames: true, UpdateScripts: *update,
		Condition: func(cond string) (bool, error) {
			if cond != "realnode" { // containers run there, and not on those that are simulated
				return false, errors.New("unknown condition")
			}
			out, err := exec.CommandContext(t.Context(), sandbox.Kubectl, "--kubeconfig", sandbox.Kubeconfig, "get", "node", "sandbox", "--ignore-not-found", "-o", "name").Output()
			return len(out) > 0, err
		},
		Setup: func(env *testscript.Env) error {
			t, ok := env.T().(testing.TB)
			if !ok {
				return errors.New("the script's T is no testing.TB")
			}
			namespace := sandbox.Namespace(t)
			env.Setenv("NAMESPACE", namespace)
			env.Setenv("KUBECTL", sandbox.Kubectl)
			env.Setenv("PROMETHEUS", sandbox.Prometheus)
			if err := kubeconfig(env, sandbox.Kubeconfig, namespace); err != nil {
				return err
			}
			return pipelines(env)
		},
	})
}

// kubeconfig writes the sandbox's with the script's namespace in its context, and as expired the same with a token
// that the server does not know.
func kubeconfig(env *testscript.Env, from, namespace string) error {
	config, err := clientcmd.LoadFromFile(from)
	if err != nil {
		return err
	}
	for _, c := range config.Contexts {
		c.Namespace = namespace
	}
	file := filepath.Join(env.WorkDir, "kubeconfig")
	env.Setenv("KUBECONFIG", file)
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return err
	}
	for _, user := range config.AuthInfos {
		*user = clientcmdapi.AuthInfo{Token: "a-token-that-has-expired"}
	}
	return clientcmd.WriteToFile(*config, filepath.Join(env.WorkDir, "expired"))
}

// pipelines copies the pipeline files that scripts share into the working directory.
func pipelines(env *testscript.Env) error {
	env.Setenv("HOME", env.WorkDir)
	return os.CopyFS(env.WorkDir, os.DirFS(filepath.Join("testdata", "pipelines")))
}

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){"code": code, "until": until, "json": isJSON}
}

// code runs a command that must end with an exit code: code 3 kubectl-ml wait
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE COMMAND...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%v ended with exit code %d, not %s", args[1:], got, args[0])
	}
}

// isJSON says that a file, or stdout, is one JSON document and nothing else: json FILE
func isJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: json FILE")
	}
	if text := ts.ReadFile(args[0]); !json.Valid([]byte(text)) {
		ts.Fatalf("%s is no JSON:\n%s", args[0], text)
	}
}

// untilLimit bounds how long until asks.
const untilLimit = time.Minute

// until runs a command again and again until its output matches: until REGEXP COMMAND...
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND...")
	}
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	for deadline := time.Now().Add(untilLimit); ; time.Sleep(100 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v did not print what matches %q within %s (%v)", args[1:], args[0], untilLimit, err)
		}
	}
}
