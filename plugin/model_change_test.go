package plugin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

func TestModelChangeArgv(t *testing.T) {
	none := changeOptions{DryRun: "none"}
	full := changeOptions{Comment: "why", DryRun: "server", Output: output{Format: "json"}}
	const flags = " --comment why --dry-run=server -o json"
	registerC, aliasC, promoteC, rollbackC := argv(newRegisterCmd), argv(newModelAliasCmd), argv(newModelPromoteCmd), argv(newModelRollbackCmd)
	approveC, rejectC, annotateC, archiveC := argv(newModelApproveCmd), argv(newModelRejectCmd), argv(newModelAnnotateCmd), argv(newModelArchiveCmd)
	deleteC, checkC, exportC, importC := argv(newModelDeleteCmd), argv(newModelCheckCmd), argv(newModelExportCmd), argv(newModelImportCmd)
	for _, c := range []struct {
		parse func(*testing.T, string) any
		line  string
		want  any
	}{
		{registerC, "m --from r/train", registerOptions{Model: "m", From: "r/train", Change: none}},
		{
			registerC, "m w --to s3://b/k --digest d --size 7 --format onnx --verify --metric a=1,b=2 --metric c=3 --param p=1,2 --data version=3 --better a=lower --parent m:1,m:2" +
				" --code-repo r --code-commit c --image i --signature s.json --baseline b.json --alias x,y --secret k" + flags,
			registerOptions{
				Model: "m", File: "w", To: "s3://b/k", Digest: "d", Size: 7, Format: "onnx", Verify: true, Metrics: []string{"a=1", "b=2", "c=3"}, Params: []string{"p=1,2"},
				Data: []string{"version=3"}, Better: []string{"a=lower"}, Parents: []string{"m:1", "m:2"}, Repo: "r", Commit: "c", Image: "i", Signature: "s.json", Baseline: "b.json",
				Aliases: []string{"x", "y"}, Store: storeOptions{Secret: "k"}, Change: full,
			},
		},
		{aliasC, "m", aliasOptions{Ref: "m", IfCurrent: -1, Change: none}},
		{aliasC, "m staging --remove --if-current 3 -y" + flags, aliasOptions{Ref: "m", Alias: "staging", Remove: true, IfCurrent: 3, Yes: true, Change: full}},
		{promoteC, "m:7", promoteOptions{Ref: "m:7", To: "production", IfCurrent: -1, Change: none}},
		{promoteC, "m@staging --to eu --if-current 0 --yes" + flags, promoteOptions{Ref: "m@staging", To: "eu", Yes: true, Change: full}},
		{rollbackC, "m", rollbackOptions{Model: "m", Alias: "production", Steps: 1, IfCurrent: -1, Change: none}},
		{rollbackC, "m --alias eu --steps 2 --if-current 7 -y" + flags, rollbackOptions{Model: "m", Alias: "eu", Steps: 2, IfCurrent: 7, Yes: true, Change: full}},
		{approveC, "m:7" + flags, judgeOptions{Ref: "m:7", Change: full}},
		{rejectC, "m:7", judgeOptions{Ref: "m:7", Change: none}},
		{
			annotateC, "m a=b c- --better x=lower,y= --require-approval" + flags,
			annotateOptions{Ref: "m", Pairs: []string{"a=b", "c-"}, Better: []string{"x=lower", "y="}, RequireApproval: "true", Change: full},
		},
		{annotateC, "m --require-approval=false", annotateOptions{Ref: "m", Pairs: []string{}, RequireApproval: "false", Change: none}},
		{archiveC, "m:3 --restore" + flags, archiveOptions{Ref: "m:3", Restore: true, Change: full}},
		{deleteC, "m -y" + flags, deleteModelOptions{Ref: "m", Yes: true, Change: full}},
		{checkC, "", checkOptions{}},
		{checkC, "m -A -o name --no-headers", checkOptions{Model: "m", All: true, Output: output{Format: "name", NoHeaders: true}}},
		{exportC, "m", exportOptions{Ref: "m", To: "-"}},
		{exportC, "m:1 --to f.tar --artifacts --force --secret k", exportOptions{Ref: "m:1", To: "f.tar", Artifacts: true, Force: true, Store: storeOptions{Secret: "k"}}},
		{importC, "-", importOptions{From: "-", Change: none}},
		{
			importC, "mlflow://M/1 --name m --renumber --aliases --to s3://b/ --tracking-uri http://h --verify" + flags,
			importOptions{From: "mlflow://M/1", Name: "m", Renumber: true, Aliases: true, To: "s3://b/", TrackingURI: "http://h", Verify: true, Change: full},
		},
	} {
		got := c.parse(t, c.line)
		if diff := cmp.Diff(c.want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
			t.Errorf("%T of %q (-want +got):\n%s", c.want, c.line, diff)
		}
	}
}

// What contradicts itself is refused before anything is asked: no cluster is configured here.
func TestModelChangesRefuse(t *testing.T) {
	change := changeOptions{}
	for _, s := range []step{
		{"nothing", call(runRegister, registerOptions{Model: "m"}), 1, "", "what is the artifact"},
		{"twice", call(runRegister, registerOptions{Model: "m", File: "f", URI: "s3://b/k"}), 1, "", "both name the artifact"},
		{"to without", call(runRegister, registerOptions{Model: "m", To: "s3://b/k"}), 1, "", "which file or folder"},
		{"odd name", call(runRegister, registerOptions{Model: "House.Prices", URI: "s3://b/k"}), 1, "", "use for example house-prices"},
		{"long name", call(runRegister, registerOptions{Model: strings.Repeat("a", 200), URI: "s3://b/k"}), 1, "", "40 characters at most"},
		{"odd URI", call(runRegister, registerOptions{Model: "m", URI: "b/k"}), 1, "", "--uri: .*is no artifact's URI"},
		{"inline URI", call(runRegister, registerOptions{Model: "m", URI: "inline:x"}), 1, "", "is given as FILE"},
		{"size", call(runRegister, registerOptions{Model: "m", URI: "s3://b/k", Size: -1}), 1, "", "must not be negative"},
		{"dry run", call(runRegister, registerOptions{Model: "m", URI: "s3://b/k", Change: changeOptions{DryRun: "x"}}), 1, "", "unknown --dry-run=x"},
		{"odd version", call(runModelPromote, promoteOptions{Ref: "m:x1"}), 1, "", "is no version"},
		{"number as alias", call(runModelPromote, promoteOptions{Ref: "m@7"}), 1, "", "write m:7"},
		{"pair", call(runModelAnnotate, annotateOptions{Ref: "m", Pairs: []string{"x"}}), 1, "", `"x": write KEY=VALUE to set, KEY- to remove`},
		{"better", call(runModelAnnotate, annotateOptions{Ref: "m", Better: []string{"x=more"}}), 1, "", "write METRIC=higher or METRIC=lower"},
		{"approval", call(runModelAnnotate, annotateOptions{Ref: "m", RequireApproval: "often"}), 1, "", "write true or false"},
		{"no note", call(runModelAnnotate, annotateOptions{Ref: "m"}), 1, "", "nothing to set"},
		{"check of an odd name", call(runModelCheck, checkOptions{Model: "A.B"}), 2, "", "use for example a-b"},
		{"check all of one", call(runModelCheck, checkOptions{Model: "m", All: true}), 2, "", "leave out the name"},
		{"artifacts without tar", call(runModelExport, exportOptions{Ref: "m", To: "-", Artifacts: true}), 1, "", "--artifacts needs a tar"},
		{"no file", call(runModelImport, importOptions{From: "nowhere.tar", Change: change}), 1, "", "read the exported model: open nowhere.tar"},
		{"no input", call(runModelImport, importOptions{From: "-"}), 1, "", "the input: the file is empty\n  nothing was imported"},
		{"mlflow, no server", call(runModelImport, importOptions{From: "mlflow://M/1"}), 1, "", "which tracking server"},
		{"mlflow, no version", call(runModelImport, importOptions{From: "mlflow://M", TrackingURI: "http://h"}), 1, "", "names no version of MLflow"},
		{"mlflow, pushed", call(runModelImport, importOptions{From: "mlflow://M/1", To: "s3://b/k"}), 1, "", "those of MLflow stay where they are"},
		{"tracking of a file", call(runModelImport, importOptions{From: "f", TrackingURI: "http://h"}), 1, "", "are for mlflow://"},
		{"odd new name", call(runModelImport, importOptions{From: "f", Name: "A B"}), 1, "", "--name: .*use for example a-b"},
	} {
		s.check(t, newBench())
	}
	var o registerOptions
	o.Metrics, o.Params, o.Better, o.Signature = []string{"a=NaN", "b=1e400", "c", "=1"}, []string{"p"}, []string{"a=up"}, "s"
	err := o.facts(&registry.Facts{}, func(string) ([]byte, error) { return []byte("{"), nil })
	for _, want := range []string{`--metric a: "NaN" is no finite number`, `--metric b: "1e400"`, `--metric "c": write --metric NAME=VALUE`, `--metric "=1"`, `--param "p"`, `--better "a=up"`, "--signature: s is no JSON document"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// TestModelChanges is a model's life, on a server.
func TestModelChanges(t *testing.T) {
	t.Parallel()
	sandbox := kubetest.Open(t)
	ns, other := sandbox.Namespace(t), sandbox.Namespace(t)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"model.pkl": "pickle", "weights.bin": "weights", "large.bin": strings.Repeat("x", registry.MaxInline+1)} {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tracking := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/model-versions/get"):
			_, _ = fmt.Fprint(w, `{"model_version": {"name": "House Prices", "version": "5", "source": "s3://mlflow/5", "run_id": "r", "status": "READY", "aliases": ["champion"], "tags": [{"key": "team", "value": "x"}]}}`)
		default:
			_, _ = fmt.Fprint(w, `{"run": {"data": {"metrics": [{"key": "rmse", "value": 7}, {"key": "bad", "value": "NaN"}], "params": [{"key": "lr", "value": "0.1"}]}}}`)
		}
	}))
	t.Cleanup(tracking.Close)
	digest := registry.DigestOf([]byte("weights"))
	jsonPath := func(path string) changeOptions { return changeOptions{Output: output{Format: "jsonpath=" + path}} }
	for _, s := range []step{
		{"no model", call(runModelPromote, promoteOptions{Ref: "m:1", To: "production", IfCurrent: -1}), 1, "", "there is no model m in namespace"},
		{"register", call(runRegister, registerOptions{Model: "m", File: file("model.pkl"), Metrics: []string{"rmse=50"}, Aliases: []string{"staging"}}), 0, "^model/m:1 registered\nmodel/m@staging set to 1\n$", "kubectl ml model promote m:1 -n test-"},
		{"dry run", call(runRegister, registerOptions{Model: "m", URI: "s3://b/2", Digest: digest, Change: changeOptions{DryRun: "server"}}), 0, `^model/m:2 registered \(server dry run\)\n$`, ""},
		{"by hand", call(runRegister, registerOptions{Model: "m", URI: "s3://b/2", Digest: digest, Metrics: []string{"rmse=40"}, Parents: []string{"m:1"}, Change: jsonPath("{.metrics.rmse} {.parents[0]} {.artifact.uri}")}), 0, "^40 m:1 s3://b/2$", ""},
		{"hashed", call(runRegister, registerOptions{Model: "m", URI: "file://" + file("weights.bin"), Change: jsonPath("{.version} {.artifact.digest} {.artifact.size}")}), 0, "^3 " + digest + " 7$", ""},
		{"another digest", call(runRegister, registerOptions{Model: "m", URI: "file://" + file("weights.bin"), Digest: registry.DigestOf(nil), Verify: true}), ExitFailed, "", "is not the artifact that was asked for"},
		{"another file", call(runRegister, registerOptions{Model: "m", File: file("model.pkl"), Digest: digest}), 1, "", "has the digest sha256:.* as --digest says"},
		{"no digest", call(runRegister, registerOptions{Model: "m", URI: "s3://b/2", Digest: "md5:1"}), 1, "", "must be sha256: and 64 lower-case hex digits"},
		{"too large", call(runRegister, registerOptions{Model: "m", File: file("large.bin")}), 1, "", "a record keeps one file of at most 900KiB\n  push it to a store with: --to"},
		{"a folder", call(runRegister, registerOptions{Model: "m", File: dir}), 1, "", "is no plain file"},
		{"pushed", call(runRegister, registerOptions{Model: "m", File: file("weights.bin"), To: "file://" + file("store.bin"), Change: jsonPath("{.version} {.artifact.uri} {.artifact.digest}")}), 0, "^4 file://.*store.bin " + digest + "$", ""},
		{"no run", call(runRegister, registerOptions{Model: "m", From: "nowhere/train"}), 1, "", `run "nowhere" not found`},

		{"asks", call(runModelPromote, promoteOptions{Ref: "m:1", To: "production", IfCurrent: -1}), 1, "", "production of m: none yet\nerror: there is no terminal to ask on: Let production of model m be version 1"},
		{"no version", call(runModelPromote, promoteOptions{Ref: "m:9", To: "production", IfCurrent: -1, Yes: true}), 1, "", "there is no m:9: the highest version is 4"},
		{"which", call(runModelPromote, promoteOptions{Ref: "m", To: "production", IfCurrent: -1, Yes: true}), 1, "", "which version of m"},
		{"odd alias", call(runModelPromote, promoteOptions{Ref: "m:1", To: "Latest!", IfCurrent: -1, Yes: true}), 1, "", `"Latest!" cannot be an alias`},
		{"promote", call(runModelPromote, promoteOptions{Ref: "m@staging", To: "production", IfCurrent: 0, Yes: true}), 0, "^model/m:1 promoted to production\n$", "kubectl ml deploy m@production"},
		{"next", call(runModelPromote, promoteOptions{Ref: "m:2", To: "production", IfCurrent: 1, Yes: true}), 0, "^model/m:2 promoted to production, in place of 1\n$", `(?s)production of m: 1 -> 2\n.*rmse +50 +40 +-20% +better\n.*kubectl ml model rollback m -n`},
		{"late", call(runModelPromote, promoteOptions{Ref: "m:3", To: "production", IfCurrent: 1, Yes: true}), 1, "", `(?s)error: m@production names version 2, not version 1: .* moved it from version 1 to version 2.*kubectl ml model diff m:2 m:3.*kubectl ml model promote m:3 --to production --if-current 2 -n`},
		{"again", call(runModelPromote, promoteOptions{Ref: "m:2", To: "production", IfCurrent: -1, Yes: true}), 0, "^model/m@production unchanged: it is 2 already\n$", "deploy"},
		{"as data", call(runModelPromote, promoteOptions{Ref: "m:3", To: "production", IfCurrent: -1, Yes: true, Change: jsonPath("{.action} {.from} {.version}")}), 0, "^promoted 2 3$", ""},
		{"back", call(runModelRollback, rollbackOptions{Model: "m", Alias: "production", Steps: 1, IfCurrent: 3, Yes: true}), 0, "^model/m@production rolled back from 3 to 2\n$", "deploy"},
		{"back, late", call(runModelRollback, rollbackOptions{Model: "m", Alias: "production", Steps: 1, IfCurrent: 3, Yes: true}), 1, "", `(?s)names version 2, not version 3.*kubectl ml model rollback m --alias production --if-current 2`},
		{"back, dry", call(runModelRollback, rollbackOptions{Model: "m", Alias: "production", Steps: 1, IfCurrent: -1, Change: changeOptions{DryRun: "client"}}), 0, `^model/m@production rolled back from 2 to 1 \(dry run\)\n$`, ""},
		{"back, asks", call(runModelRollback, rollbackOptions{Model: "m", Alias: "production", Steps: 1, IfCurrent: -1}), 1, "", "(?s)rmse +40 +50 +\\+25% +worse.*Roll production of model m back from version 2 to 1"},
		{"too far", call(runModelRollback, rollbackOptions{Model: "m", Alias: "production", Steps: 9, IfCurrent: -1, Yes: true}), 1, "", "has named nothing else before"},
		{"no steps", call(runModelRollback, rollbackOptions{Model: "m", Alias: "production", IfCurrent: -1, Yes: true}), 1, "", "at least one step back"},
		{"to a version", call(runModelRollback, rollbackOptions{Model: "m:1", Alias: "production", Steps: 1}), 1, "", "kubectl ml model promote m:1 --to production"},

		{"reject", call(runModelReject, judgeOptions{Ref: "m@production", Change: changeOptions{Comment: "leaks"}}), 0, "^model/m:2 rejected\n$", "It is still production. Roll that back with:  kubectl ml model rollback m --alias production"},
		{"of what", call(runModelApprove, judgeOptions{Ref: "m"}), 1, "", "which version of m"},
		{"rejected", call(runModelPromote, promoteOptions{Ref: "m:2", To: "production-eu", IfCurrent: -1, Yes: true}), 1, "", `m:2 was rejected by .*"leaks"\n  judge it again with: kubectl ml model approve m:2`},
		{"require", call(runModelAnnotate, annotateOptions{Ref: "m", Pairs: []string{"card=x"}, RequireApproval: "true", Better: []string{"days=lower"}}), 0, "^model/m annotated\n$", ""},
		{"of a version", call(runModelAnnotate, annotateOptions{Ref: "m:1", RequireApproval: "true"}), 1, "", "settings of the model: write m"},
		{"required", call(runModelPromote, promoteOptions{Ref: "m:3", To: "production", IfCurrent: -1, Yes: true}), 1, "", "requires approval for production, and nobody has approved m:3"},
		{"approve", call(runModelApprove, judgeOptions{Ref: "m:3", Change: changeOptions{Output: output{Format: "name"}}}), 0, "^model/m:3\n$", ""},
		{"approved", call(runModelPromote, promoteOptions{Ref: "m:3", To: "production", IfCurrent: -1, Yes: true}), 0, "promoted to production, in place of 2", "approved by "},

		{"aliases", call(runModelAlias, aliasOptions{Ref: "m", IfCurrent: -1}), 0, "(?s)^ALIAS +VERSION +APPROVAL\nproduction +3 +approved\nstaging +1 +<none>\n$", ""},
		{"move", call(runModelAlias, aliasOptions{Ref: "m@latest", Alias: "staging", IfCurrent: 1}), 0, "^model/m@staging moved from 1 to 4\n$", "deploy m@staging"},
		{"production asks", call(runModelAlias, aliasOptions{Ref: "m:1", Alias: "production", IfCurrent: -1}), 1, "", "Let production of model m be version 1"},
		{"which alias", call(runModelAlias, aliasOptions{Ref: "m:1", IfCurrent: -1}), 1, "", "which alias"},
		{"remove a version's", call(runModelAlias, aliasOptions{Ref: "m:1", Alias: "staging", Remove: true, IfCurrent: -1}), 1, "", "whatever it points at"},
		{"remove", call(runModelAlias, aliasOptions{Ref: "m", Alias: "staging", Remove: true, IfCurrent: 4}), 0, `^model/m@staging removed \(it was 4\)\n$`, ""},
		{"remove again", call(runModelAlias, aliasOptions{Ref: "m", Alias: "staging", Remove: true, IfCurrent: -1}), 1, "", "model m has no alias staging; it has: production"},
		{"alias of nothing", call(runModelAlias, aliasOptions{Ref: "m@staging", Alias: "x", IfCurrent: -1}), 1, "", "model m has no alias staging"},

		{"archive", call(runModelArchive, archiveOptions{Ref: "m:4"}), 0, "^model/m:4 archived\n$", "kubectl ml model archive m:4 --restore"},
		{"archived", call(runModelAlias, aliasOptions{Ref: "m:4", Alias: "staging", IfCurrent: -1}), 1, "", "m:4 was archived by"},
		{"archive what is named", call(runModelArchive, archiveOptions{Ref: "m:3"}), 1, "", "production"},
		{"archive of all", call(runModelArchive, archiveOptions{Ref: "m"}), 1, "", "which version"},
		{"delete what is named", call(runModelDelete, deleteModelOptions{Ref: "m:3"}), 1, "", "cannot delete m:3"},
		{"delete an alias", call(runModelDelete, deleteModelOptions{Ref: "m@production"}), 1, "", "kubectl ml model alias m production --remove"},
		{"delete asks", call(runModelDelete, deleteModelOptions{Ref: "m:4"}), 1, "", "Delete version m:4 for good"},
		{"delete, dry", call(runModelDelete, deleteModelOptions{Ref: "m:4", Change: changeOptions{DryRun: "client"}}), 0, `^model/m:4 deleted \(dry run\)\n$`, ""},
		{"delete", call(runModelDelete, deleteModelOptions{Ref: "m:4", Yes: true}), 0, "^model/m:4 deleted\n$", ""},
		{"delete again", call(runModelDelete, deleteModelOptions{Ref: "m:4", Yes: true}), 1, "", "m:4 was deleted by"},
		{"check", call(runModelCheck, checkOptions{Model: "m"}), 0, "", "^No problems found in model m.\n$"},

		{"export", call(runModelExport, exportOptions{Ref: "m", To: file("m.tar")}), 0, `^model/m exported to .*m.tar \(3 versions, `, "kubectl ml model import"},
		{"export again", call(runModelExport, exportOptions{Ref: "m", To: file("m.tar")}), 1, "", "is there already"},
		{"export what is away", call(runModelExport, exportOptions{Ref: "m:2", To: file("two.tar"), Artifacts: true}), 1, "", "fetch the artifact of m:2"},
		{"export one", call(runModelExport, exportOptions{Ref: "m:3", To: file("three.tar"), Artifacts: true}), 0, "1 version", "import"},
		{"export to the output", call(runModelExport, exportOptions{Ref: "m:1", To: "-"}), 0, `"inline": "cGlja2xl"`, ""},
		{"export of none", call(runModelExport, exportOptions{Ref: "m:9", To: "-"}), 1, "", "there is no m:9"},
		{"import here", call(runModelImport, importOptions{From: file("m.tar")}), 0, "^model/m:1 unchanged: it is here already\nmodel/m:2 unchanged.*\nmodel/m:3 unchanged.*\n$", "models m"},
		{"import a part as another", call(runModelImport, importOptions{From: file("three.tar"), Name: "n", To: "file://" + file("kept"), Aliases: true, Change: jsonPath("{.items[0].artifact.uri}")}), 0, "^file://.*/kept/3/weights.bin$", "warning: production is not set: model n requires approval"},
		{"import of mlflow", call(runModelImport, importOptions{From: "mlflow://House%20Prices/5", Name: "mlf", TrackingURI: tracking.URL, Aliases: true}), 0, "^model/mlf:5 imported from House Prices:5\nmodel/mlf@champion set to 5\n$", "(?s)not taken over: metric bad, which is NaN.*no digest"},
		{"import of mlflow, odd name", call(runModelImport, importOptions{From: "mlflow://House%20Prices/5", TrackingURI: tracking.URL}), 1, "", "house-prices\n  give it another name with: --name NAME"},
		{"mlflow again", call(runModelImport, importOptions{From: "mlflow://House%20Prices/5", Name: "mlf", TrackingURI: tracking.URL}), 0, "unchanged: it is here already", "models mlf"},
		{"mlflow where it is taken", call(runModelImport, importOptions{From: "mlflow://House%20Prices/5", Name: "mlf", Renumber: true, TrackingURI: tracking.URL}), 0, "^model/mlf:5 unchanged", "models mlf"},
		{"delete all", call(runModelDelete, deleteModelOptions{Ref: "mlf", Yes: true}), 1, "", "its aliases name versions: champion"},
	} {
		b := newBench()
		*b.Config.KubeConfig, *b.Config.Namespace = sandbox.Kubeconfig, ns
		s.check(t, b)
	}
	for _, s := range []step{
		{"import, dry", call(runModelImport, importOptions{From: file("m.tar"), Change: changeOptions{DryRun: "server"}}), 0, `^model/m:1 imported \(server dry run\)\n`, ""},
		{"import", call(runModelImport, importOptions{From: file("m.tar"), Aliases: true}), 0, "^model/m:1 imported\nmodel/m:2 imported\nmodel/m:3 imported\n$", "warning: production is not set: .*nobody has approved m:3"},
		{"renumber", call(runModelImport, importOptions{From: file("three.tar"), Renumber: true}), 0, "^model/m:3 unchanged", "The artifacts in the tar are not kept"},
		{"still rejected", call(runModelPromote, promoteOptions{Ref: "m:2", To: "production", IfCurrent: -1, Yes: true}), 1, "", "m:2 was rejected by"},
		{"a version of its own", call(runRegister, registerOptions{Model: "o", URI: "s3://b/x", Digest: digest}), 0, "o:1 registered", "promote"},
		{"a number that is taken", call(runModelImport, importOptions{From: file("m.tar"), Name: "o"}), 1, "", "taken here, or were once: 1\n"},
		{"new numbers", call(runModelImport, importOptions{From: file("m.tar"), Name: "o", Renumber: true}), 0, "^model/o:2 imported from m:1\nmodel/o:3 imported from m:2\nmodel/o:4 imported from m:3\n$", "models o"},
		{"check", call(runModelCheck, checkOptions{}), 0, "", "^No problems found in the models of namespace test-"},
	} {
		b := newBench()
		*b.Config.KubeConfig, *b.Config.Namespace = sandbox.Kubeconfig, other
		s.check(t, b)
	}
}
