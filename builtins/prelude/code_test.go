package prelude

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// runCode runs a program of code/ as Lambda would: test is JavaScript that has its exports as `code`, sdk the modules of
// the AWS SDK that it finds, by name. It gives what the test printed.
func runCode(t *testing.T, name, test string, sdk map[string]string) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	dir := t.TempDir()
	source, err := Code.ReadFile("code/" + name)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{name: string(source), "test.js": "const code = require('./" + name + "');\n" + test}
	for module, text := range sdk {
		files["node_modules/@aws-sdk/"+module+"/index.js"] = text
	}
	for file, text := range files {
		file = filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(node, filepath.Join(dir, "test.js")).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// fakeLambda answers calls of functions by their names: it prints what it is sent.
const fakeLambda = `
let refusals = 1;
exports.InvokeCommand = class { constructor(input) { this.input = input; } };
exports.LambdaClient = class {
  async send({ input }) {
    if (input.FunctionName === 'young' && refusals-- > 0) throw Object.assign(new Error('not yet'), { name: 'AccessDeniedException' });
    console.log('call', input.FunctionName, input.Payload);
    if (input.FunctionName === 'bad') return { FunctionError: 'Unhandled', Payload: Buffer.from('{"errorMessage":"no table"}') };
    return { Payload: Buffer.from('null') };
  }
};`

func TestScriptRunner(t *testing.T) {
	got := runCode(t, "script.js", `
globalThis.fetch = async (url, { method, body }) => console.log(method, url, body);
globalThis.setTimeout = (f) => setImmediate(f); // no waiting for IAM
const request = (RequestType, ResourceProperties, more) => code.handler({ RequestType, ResourceProperties, StackId: 's', RequestId: 'r',
  LogicalResourceId: 'Seed', ResponseURL: 'https://answer', ...more });
(async () => {
  await request('Create', { onCreate: 'good', params: '{"a":1}' });
  await request('Update', { onCreate: 'good', onUpdate: 'young', params: '{"a":2}' }, { PhysicalResourceId: 'Seed', OldResourceProperties: { params: '{"a":1}' } });
  await request('Delete', { onCreate: 'good', params: '{}' }, { PhysicalResourceId: 'Seed' });
  await request('Create', { onCreate: 'bad', onDelete: 'good', params: '{}' });
  await request('Delete', { onCreate: 'bad', onDelete: 'good', params: '{}' }, { PhysicalResourceId: 'never-created' });
})();`, map[string]string{"client-lambda": fakeLambda})
	want := `call good {"type":"create","params":{"a":1}}
PUT https://answer {"Status":"SUCCESS","StackId":"s","RequestId":"r","LogicalResourceId":"Seed","PhysicalResourceId":"Seed"}
call young {"type":"update","params":{"a":2},"previous":{"a":1}}
PUT https://answer {"Status":"SUCCESS","StackId":"s","RequestId":"r","LogicalResourceId":"Seed","PhysicalResourceId":"Seed"}
PUT https://answer {"Status":"SUCCESS","StackId":"s","RequestId":"r","LogicalResourceId":"Seed","PhysicalResourceId":"Seed"}
call bad {"type":"create","params":{}}
PUT https://answer {"Status":"FAILED","StackId":"s","RequestId":"r","LogicalResourceId":"Seed","PhysicalResourceId":"never-created","Reason":"bad: no table"}
PUT https://answer {"Status":"SUCCESS","StackId":"s","RequestId":"r","LogicalResourceId":"Seed","PhysicalResourceId":"never-created"}
`
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("script.js does\n%s\nwant\n%s", got, want)
	}
}

func TestJobStarter(t *testing.T) {
	got := runCode(t, "job.js", `
process.env.PROJECT = 'report';
(async () => {
  console.log(await code.handler({ rows: 3 }));
  console.log(await code.handler(undefined));
})();`, map[string]string{"client-codebuild": `
exports.StartBuildCommand = class { constructor(input) { this.input = input; } };
exports.CodeBuildClient = class {
  async send({ input }) {
    console.log(JSON.stringify(input));
    return { build: { id: 'report:1' } };
  }
};`})
	want := `{"projectName":"report","environmentVariablesOverride":[{"name":"SST_PAYLOAD","value":"{\"rows\":3}"}]}
{ id: 'report:1' }
{"projectName":"report","environmentVariablesOverride":[{"name":"SST_PAYLOAD","value":"{}"}]}
{ id: 'report:1' }
`
	if got != want {
		t.Errorf("job.js does\n%s\nwant\n%s", got, want)
	}
}

// What runs a job's handler where there is no Lambda.
func TestJobRunners(t *testing.T) {
	for _, test := range []struct{ tool, program, file, source, handler, payload, want string }{
		{"node", "run_node.js", "src/a.mjs", `export const jobs = { main: async (p, c) => console.log(p.rows, c.functionName, c.getRemainingTimeInMillis() > 7e6) }; setInterval(() => {}, 1000);`,
			"src/a.jobs.main", `{"rows":3}`, "3 Report true\n"},
		{"node", "run_node.js", "src/a.cjs", `exports.main = (p) => { throw new Error('no rows') };`, "src/a.main", "", "Error: no rows"},
		{"python3", "run_python.py", "jobs/a.py", "def main(event, context):\n    print(event['rows'], context.function_name, context.get_remaining_time_in_millis() > 7e6)\n",
			"jobs/a.main", `{"rows":3}`, "3 Report True\n"},
		{"python3", "run_python.py", "jobs/a.py", "def main(event, context):\n    raise Exception('no rows')\n", "jobs/a.main", "", "Exception: no rows"},
	} {
		tool, err := exec.LookPath(test.tool)
		if err != nil {
			t.Logf("%s is not installed", test.tool)
			continue
		}
		dir := t.TempDir()
		program, err := Code.ReadFile("code/" + test.program)
		if err != nil {
			t.Fatal(err)
		}
		runner := filepath.Join(t.TempDir(), test.program)
		file := filepath.Join(dir, filepath.FromSlash(test.file))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{runner: string(program), file: test.source} {
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(tool, runner)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SST_HANDLER="+test.handler, "SST_JOB=Report", "SST_TIMEOUT=7200", "SST_PAYLOAD="+test.payload)
		out, err := cmd.CombinedOutput()
		if failed := strings.Contains(test.want, "no rows"); failed != (err != nil) || !strings.Contains(string(out), test.want) {
			t.Errorf("%s of %s = %v, %s, want %s", test.program, test.file, err, out, test.want)
		}
	}
}

// fakeData is the Data API of a database that sleeps at first and knows the migration 001.sql.
const fakeData = `
let asleep = true;
for (const name of ['ExecuteStatement', 'BeginTransaction', 'CommitTransaction', 'RollbackTransaction'])
  exports[name + 'Command'] = class { constructor(input) { Object.assign(this, { name, input }); } };
exports.RDSDataClient = class {
  async send({ name, input: { sql, transactionId, parameters } }) {
    if (asleep) { asleep = false; throw Object.assign(new Error('resuming'), { name: 'DatabaseResumingException' }); }
    console.log(name, transactionId || '', sql || '', parameters ? parameters[0].value.stringValue : '');
    if (/^bad/.test(sql)) throw new Error('syntax error');
    if (/^select name/.test(sql)) return { records: [[{ stringValue: '001.sql' }]] };
    return { transactionId: 't' };
  }
};`

func TestMigrate(t *testing.T) {
	test := func(engine, files string) string {
		return runCode(t, "migrate.js", `
globalThis.fetch = async (url, { body }) => console.log(JSON.parse(body).Status, JSON.parse(body).Reason || '');
globalThis.setTimeout = (f) => setImmediate(f);
const fs = require('fs'), path = require('path');
const folder = process.env.FOLDER = fs.mkdtempSync(path.join(__dirname, 'sql'));
process.env.ENGINE = '`+engine+`';
for (const [name, text] of Object.entries(`+files+`)) fs.writeFileSync(path.join(folder, name), text);
delete require.cache[require.resolve('./migrate.js')];
const request = (RequestType) => require('./migrate.js').handler({ RequestType, LogicalResourceId: 'M', ResponseURL: 'https://answer' });
request('Create').then(() => request('Delete'));
`, map[string]string{"client-rds-data": fakeData})
	}
	const begun = "ExecuteStatement  create table if not exists sst_migrations (name varchar(255) primary key, applied timestamp default current_timestamp) \n" +
		"ExecuteStatement  select name from sst_migrations \n"
	for _, c := range []struct{ engine, files, want string }{
		{"postgres", `{ '001.sql': 'old', 'a.txt': 'no', '003.sql': 'third', '002.sql': "-- a; b\ninsert into a values ('x;''y', $$ 1;2 $$, $q$;$q$); /* ; */\n;create function \"a;b\"" }`,
			begun + "BeginTransaction   \n" +
				"ExecuteStatement t insert into a values ('x;''y', $$ 1;2 $$, $q$;$q$) \n" +
				"ExecuteStatement t create function \"a;b\" \n" +
				"ExecuteStatement t insert into sst_migrations (name) values (:name) 002.sql\n" +
				"CommitTransaction t  \n" +
				"BeginTransaction   \nExecuteStatement t third \nExecuteStatement t insert into sst_migrations (name) values (:name) 003.sql\nCommitTransaction t  \nSUCCESS \nSUCCESS \n"},
		{"mysql", `{ '002.sql': "# a; b\ninsert into a values ('it\\'s;');bad" }`,
			begun + "BeginTransaction   \n" +
				"ExecuteStatement t insert into a values ('it\\'s;') \n" +
				"ExecuteStatement t bad \nRollbackTransaction t  \nFAILED 002.sql: syntax error\nSUCCESS \n"},
	} {
		got := test(c.engine, c.files)
		for _, name := range []string{"002.sql\n", "003.sql\n"} { // what it logs
			got = strings.Replace(got, "\n"+name, "\n", 1)
		}
		if got != c.want {
			t.Errorf("migrate.js does with %s\n%s\nwant\n%s", c.engine, got, c.want)
		}
	}
}
