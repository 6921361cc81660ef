package cmd

import (
	"bufio"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"sst/builtins"
	"sst/cfn"
	"sst/proxy"
	"sst/runtime"
	"sst/runtime/bundle"
	"sst/starlark/diag"
)

// This file is `sst start` on AWS: the debug stack, the app with stubs for functions, the connection, and what ENTER does.

// debugStack is the id of the stack that live mode adds to the app; debug_stack.star makes it.
const debugStack = "debug-stack"

// addDebugStack adds it to an assembly that is not of live mode, as far as its removal needs it.
func addDebugStack(asm *cfn.Assembly) {
	if name := debugStackName(asm.Manifest); len(asm.Stacks) > 0 && asm.Stack(name) == nil {
		first := asm.Stacks[0]
		asm.Stacks = append(asm.Stacks, &cfn.Stack{ID: name, Name: name, Short: debugStack, Dir: asm.Dir, Account: first.Account, Region: first.Region,
			Deployment: cfn.Deployment{AssumeRoleArn: first.Deployment.AssumeRoleArn}})
	}
}

func debugStackName(m *cfn.Manifest) string { return m.Stage + "-" + m.App + "-" + debugStack }

// The stages of its WebSocket API: who may connect to which is a matter of IAM.
const (
	developerStage = "developer"
	stubStage      = "stub"
)

// stubRuntime is the runtime of every stub, whatever the function's own is.
const stubRuntime = "nodejs24.x"

// The code that comes with sst: of the relay function, and of stubs.
var (
	relayCode = sync.OnceValue(func() cfn.Code {
		return packed(bundle.File{Name: "index.mjs", Data: proxy.RelayFunction, Mode: 0o644})
	})
	stubCode = sync.OnceValue(func() cfn.Code {
		return packed(bundle.File{Name: proxy.StubWrapperFile, Data: proxy.StubWrapper, Mode: 0o755},
			bundle.File{Name: proxy.StubFile, Data: proxy.Stub, Mode: 0o644})
	})
)

func packed(files ...bundle.File) cfn.Code {
	archive, _ := (&bundle.Result{Files: files}).Zip() // with files there is no error
	sum := sha256.Sum256(archive)
	return cfn.Code{Hash: hex.EncodeToString(sum[:]), Zip: func() ([]byte, error) { return archive, nil }}
}

// writeArchive puts the archive where an assembly has it.
func writeArchive(dir string, code cfn.Code) error {
	data, err := code.Zip()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "asset."+code.Hash+".zip"), data, 0o644)
}

// live is what a starter does on AWS. The loop of run owns its fields.
type live struct {
	*starter
	auto     bool // deploy changes of stacks.star without waiting for ENTER
	takeOver bool
	only     []string // functions of the stage to run; nil: all
	yes      bool     // do not ask on a stage that is not one's own

	builder *bundle.Builder
	config  aws.Config
	key     ed25519.PrivateKey
	secrets *cachedStore
	bucket  string // for large bodies
	api     string // id of the WebSocket API
	url     string // of the WebSocket API, without a stage

	deployed *cfn.Assembly // what AWS has
	wanted   *cfn.Assembly // what stacks.star says, when that is something else; nil otherwise
	running  *cfn.Assembly // what is being deployed; nil: nothing
	next     bool          // deploy again once that has ended
	outcome  chan error    // of the deployment under way
}

func (l *live) run(ctx context.Context, began time.Time) error {
	l.builder = bundle.Open(bundle.Config{Root: l.project.root, Mode: bundle.Deploy, Cache: filepath.Join(l.project.state, "cache", "bundles"),
		NoSites: true, LookupEnv: l.LookupEnv})
	defer l.builder.Close()
	l.outcome = make(chan error, 1)
	l.mode = forLive
	l.reloaded = l.offer

	l.folder = filepath.Join(l.project.state, "live")
	if err := os.RemoveAll(l.folder); err != nil {
		return err
	}
	synthesis, asm, err := l.synthesizeRecorded(ctx)
	if err != nil {
		return err
	}
	if _, err := l.chosen(asm.Manifest); err != nil {
		return err
	}
	if err := l.inspect(asm.Manifest); err != nil {
		return err
	}
	if l.config, err = l.awsConfig(ctx, l.project, asm.Manifest.Region); err != nil {
		return err
	}
	l.config.Credentials = l.freshCredentials(l.config.Credentials)
	if err := l.consent(ctx, asm.Manifest); err != nil {
		return err
	}
	l.secrets = &cachedStore{secretStore: &ssmStore{client: ssm.NewFromConfig(l.config), region: l.config.Region}}
	if err := l.checkSecrets(ctx, l.project, asm.Manifest, l.config); err != nil {
		return err
	}
	fresh, err := l.deployDebugStack(ctx, asm)
	if err != nil {
		return err
	}
	if l.key, err = stageKey(ctx, l.config, asm.Manifest); err != nil {
		return l.awsProblem(err)
	}
	stubbed, err := l.stub(ctx, asm)
	if err != nil {
		return err
	}
	// Connected first: nobody else's stage is deployed to, and stubs find somebody from the beginning.
	if err := l.serve(ctx, synthesis, asm); err != nil {
		return err
	}
	if err := l.connect(ctx, fresh); err != nil {
		return err
	}
	if err := l.deploy(ctx, stubbed); err != nil {
		return err
	}
	l.deployed = stubbed
	l.started(l.describeLive(asm.Manifest, time.Since(began)))
	if !l.noLint {
		l.code.Store(l.watchCode(ctx, l.project, l.rules))
		defer l.code.Load().wait()
	}
	return l.loop(ctx)
}

// synthesizeRecorded is synthesize, with what it misses looked up first.
func (l *live) synthesizeRecorded(ctx context.Context) (*builtins.Synthesis, *cfn.Assembly, error) {
	synthesis, asm, err := l.synthesize(ctx)
	var list diag.List
	if !errors.As(err, &list) || !slices.ContainsFunc(list, builtins.WantsLookup) {
		return synthesis, asm, err
	}
	if recorded, failed := l.lookup(ctx, l.project, false); failed != nil || recorded == 0 {
		return synthesis, asm, cmp.Or(failed, err)
	}
	return l.synthesize(ctx)
}

func (l *live) loop(ctx context.Context) error {
	enter := l.enters()
	for {
		select {
		case <-ctx.Done():
			if l.running != nil {
				<-l.outcome // it says how to come back
			}
			l.view.Notice(l.farewell())
			return l.server.Close()
		case files := <-l.changed:
			for len(files) > 0 {
				files = l.reload(ctx, l.drain(files))
			}
		case _, ok := <-enter:
			if !ok {
				enter = nil
				continue
			}
			l.entered(ctx)
		case err := <-l.outcome:
			l.ended(ctx, err)
		}
	}
}

// enters gives a value for each line on the standard input. It never takes the terminal for itself.
func (l *live) enters() chan struct{} {
	enter := make(chan struct{})
	go func() {
		defer close(enter)
		input := bufio.NewScanner(l.Stdin)
		for input.Scan() {
			l.screen.echoed()
			enter <- struct{}{}
		}
	}()
	return enter
}

// relayAddress is where an end connects to, and whether somebody said so: an emulator may give its API another address, in
// which "{stage}" is the API's stage.
func (l *live) relayAddress(stage string) (url string, given bool) {
	if own := l.Getenv("SST_WEBSOCKET_URL"); own != "" {
		return strings.ReplaceAll(own, "{stage}", stage), true
	}
	return l.url + "/" + stage, false
}

// deployDebugStack brings the debug stack to AWS and remembers where its relay is. fresh says that it was not there before.
func (l *live) deployDebugStack(ctx context.Context, asm *cfn.Assembly) (fresh bool, err error) {
	if err := writeArchive(asm.Dir, relayCode()); err != nil {
		return false, err
	}
	stack := asm.Stack(debugStackName(asm.Manifest))
	if stack == nil {
		return false, errors.New("the app has no debug stack")
	}
	results, err := l.deployStacks(ctx, l.project, l.deployer(asm), []*cfn.Stack{stack}, nil)
	if err != nil {
		return false, err
	}
	for _, r := range results {
		l.bucket = r.Outputs["bucket"]
		l.api, l.url = r.Outputs["api"], strings.TrimSuffix(r.Outputs["url"], "/")
		fresh = r.Outcome == cfn.Deployed
	}
	if l.api == "" || l.url == "" || l.bucket == "" {
		return false, problemf("Delete it in the CloudFormation console and start again.", "stack %s has no outputs that name its relay and bucket", stack.Name)
	}
	return fresh, nil
}

func (l *live) deployer(asm *cfn.Assembly) *cfn.Deployer {
	docker, _ := l.LookupEnv("CDK_DOCKER")
	return &cfn.Deployer{
		Config: l.config, Assembly: asm, Repair: asm.Manifest.Personal, Hotswap: asm.Manifest.Personal, Docker: docker,
		Report: func(e cfn.Progress) {
			if e.Status != "NOT_SWAPPED" { // nobody asked for it
				l.view.Progress(asm.Manifest, e)
			}
		},
	}
}

// stub makes the assembly that goes to AWS: live functions are stubs, the others have their code.
func (l *live) stub(ctx context.Context, asm *cfn.Assembly) (*cfn.Assembly, error) {
	url, _ := l.relayAddress(stubStage)
	public := base64.RawURLEncoding.EncodeToString(l.key.Public().(ed25519.PublicKey))
	notes, err := cfn.Stub(asm, asm.Manifest, cfn.Stubs{
		Hash: stubCode().Hash, Handler: strings.TrimSuffix(proxy.StubFile, ".mjs") + ".handler", Runtime: stubRuntime, Wrapper: proxy.StubWrapperFile,
		API: l.api, Stage: stubStage,
		Config: func(f cfn.Function) string {
			text, _ := json.Marshal(struct {
				URL      string `json:"url"`
				Function string `json:"function"`
				Runtime  string `json:"runtime"`
				Timeout  int    `json:"timeout"`
				Key      string `json:"key"`
			}{url, f.ID, f.Runtime, f.Timeout, public})
			return string(text)
		},
	})
	var large *cfn.StubTooLarge
	if errors.As(err, &large) {
		return nil, diag.List{{Code: "environment-too-large", Summary: "Environment too large", Span: l.place(large.Function.Position),
			Detail: large.Error() + ".\nlive = False keeps a function's deployed code during sst start."}}
	}
	if err != nil {
		return nil, fmt.Errorf("make stubs: %w", err)
	}
	for _, note := range notes {
		if !l.noted[note.Function.ID+note.Text] {
			l.noted[note.Function.ID+note.Text] = true
			l.view.Notice(note.Function.ID + " " + note.Text + ".")
		}
	}
	codes := map[string]cfn.Code{"stub": stubCode(), "relay": relayCode()}
	var specs []bundle.Spec
	live := map[string]bool{}
	for _, f := range asm.Manifest.Functions {
		live[f.ID] = f.Live
	}
	for _, needed := range asm.Manifest.Bundles() {
		if !live[needed.ID] {
			specs = append(specs, needed.Spec)
		}
	}
	results := map[string]*bundle.Result{}
	l.also = nil // the code that runs in AWS: saving it is a change there
	for _, result := range l.builder.Build(ctx, specs) {
		l.also = append(l.also, result.Inputs...)
		results[result.Spec.Key()] = result
		codes[result.Spec.Key()] = cfn.Code{Hash: result.Hash, Zip: result.Zip}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if problems := bundleProblems(l.project, asm.Manifest, results); problems.HasErrors() {
		return nil, problems
	}
	manifest := *asm.Manifest
	manifest.Functions, manifest.Sites, manifest.Jobs = slices.Clone(manifest.Functions), slices.Clone(manifest.Sites), slices.Clone(manifest.Jobs)
	stubbed, err := cfn.FinishTo(asm.Dir, asm.Dir+"-stubs", &manifest, codes)
	if errors.Is(err, bundle.ErrDamaged) { // it is built this time
		return l.stub(ctx, asm)
	}
	return stubbed, err
}

// cachedStore asks for the values of secrets once in a while: each invocation wants them.
type cachedStore struct {
	secretStore
	mu    sync.Mutex // guards known
	known map[string]cachedSecrets
}

type cachedSecrets struct {
	values map[string]string
	until  time.Time
}

// secretTime is after how long a secret that was set is seen by running functions.
const secretTime = 15 * time.Second

// Get gives what the store gave a while ago.
func (s *cachedStore) Get(ctx context.Context, names []string, decrypt bool) (map[string]string, error) {
	names = slices.Sorted(slices.Values(names))
	key := fmt.Sprint(decrypt, names)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.known[key]; ok && time.Now().Before(c.until) {
		return c.values, nil
	}
	values, err := s.secretStore.Get(ctx, names, decrypt)
	if err != nil {
		return nil, err
	}
	if s.known == nil {
		s.known = map[string]cachedSecrets{}
	}
	s.known[key] = cachedSecrets{values, time.Now().Add(secretTime)}
	return values, nil
}

// place is a position of the manifest as diagnostics have it.
func (s *starter) place(at cfn.Position) diag.Span {
	return diag.Point(diag.Position{File: filepath.Join(s.project.root, filepath.FromSlash(at.File)), Line: at.Line, Col: at.Column})
}

// deploy brings the app's own stacks to AWS.
func (l *live) deploy(ctx context.Context, asm *cfn.Assembly) error {
	stacks := slices.DeleteFunc(slices.Clone(asm.Stacks), func(s *cfn.Stack) bool { return s.ID == debugStackName(asm.Manifest) })
	_, err := l.deployStacks(ctx, l.project, l.deployer(asm), stacks, func(s deploySummary) {
		if !slices.ContainsFunc(s.Stacks, func(d deployedStack) bool {
			return d.Outcome != string(cfn.Swapped) && d.Outcome != string(cfn.Unchanged)
		}) &&
			slices.ContainsFunc(s.Stacks, func(d deployedStack) bool { return d.Swapped > 0 }) && !l.json {
			return // each function had its line
		}
		l.view.Deployed(s)
	})
	return err
}

// swappable says whether what differs between two assemblies can be given to Lambda itself.
func swappable(before, after *cfn.Assembly) bool {
	old, err := appStacks(before)
	if err != nil {
		return false
	}
	now, err := appStacks(after)
	if err != nil || len(old) != len(now) {
		return false
	}
	for id, stack := range now {
		was, err := templateOf(old[id])
		if err != nil || was == nil {
			return false
		}
		is, err := templateOf(stack)
		if err != nil {
			return false
		}
		if _, obstacle := cfn.Swappable(was, is); obstacle != nil {
			return false
		}
	}
	return true
}

// consent asks before a stage that is not one's own becomes live: whoever calls it gets what this machine answers.
func (l *live) consent(ctx context.Context, m *cfn.Manifest) error {
	if m.Personal || l.yes {
		return nil
	}
	if !isTerminal(l.Stdin) || l.json {
		return problemf("--yes starts without asking.", "stage %s is not your own: its functions would run on this machine until the next sst deploy", l.project.stage)
	}
	fmt.Fprintf(l.Stderr, "Stage %s is not your own: until the next sst deploy its functions run on this machine. Go on? [y/N] ", l.project.stage)
	answer, err := readLine(ctx, bufio.NewReader(l.Stdin))
	if err != nil || !slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer))) {
		return problemf("`sst start --local` runs it without AWS.", "nothing was deployed")
	}
	return nil
}

// freshTime is how long a relay that was just made may take until it answers.
const freshTime = time.Minute

// refusedByPolicy is in what API Gateway answers when a policy is the reason, and not a relay that is not ready yet.
const refusedByPolicy = "is not authorized to perform"

// connect registers this machine as the one that runs the stage's functions.
func (l *live) connect(ctx context.Context, fresh bool) error {
	only, err := l.chosen(l.asm.Manifest)
	if err != nil {
		return err
	}
	url, given := l.relayAddress(developerStage)
	instance, former, err := l.turn()
	if err != nil {
		return err
	}
	link := runtime.Link{
		Instance: instance, Former: former,
		URL: url, Key: l.key, Payloads: openPayloadBucket(l.config, l.bucket), Name: l.identity(), TakeOver: l.takeOver, Only: only,
		Sign: &proxy.Signer{Credentials: l.config.Credentials, Region: l.config.Region}, State: l.linkState(),
		Notice: func(n proxy.Notice) { l.view.Notice(n.String() + ".") },
	}
	began, told := time.Now(), false
	for {
		err := l.server.Connect(ctx, link)
		var present *proxy.PresentError
		var refused *proxy.Refused
		var rejected *proxy.Rejected
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &present):
			what := "the functions"
			if present.Functions != nil {
				what = strings.Join(present.Functions, ", ")
			}
			return problemf("A stage of your own (--stage) keeps you apart, --only FUNCTION shares this one; --take-over takes them.",
				"%s runs %s of stage %s already", present.Name, what, l.project.stage)
		case errors.As(err, &refused) && refused.Code == "version":
			return problemf("Use the same version of sst as the others, or end their start.", "the relay of stage %s speaks another version of the protocol: %s", l.project.stage, refused.Data)
		case fresh && time.Since(began) < freshTime && !(errors.As(err, &rejected) && strings.Contains(rejected.Body, refusedByPolicy)):
			if !told {
				told = true
				l.view.Notice("The relay is new; waiting until it answers.")
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		case errors.As(err, &rejected) && rejected.Status == 403:
			return problemf(fmt.Sprintf("They need execute-api:Invoke on arn:aws:execute-api:%s:*:%s/%s/$connect.", l.config.Region, l.api, developerStage),
				"the credentials may not connect to the relay of stage %s: %s", l.project.stage, cmp.Or(rejected.Body, rejected.Error()))
		case errors.As(err, &rejected) || isNetwork(err):
			hint := "Is there a proxy or firewall in between that lets no WebSocket through?"
			if given {
				hint = "SST_WEBSOCKET_URL says where it is."
			}
			return problemf(hint, "the relay at %s cannot be reached: %v", url, last(err))
		default:
			return l.awsProblem(err)
		}
	}
}

// runFile remembers, in the project's state, as whom the last run was registered.
const runFile = "live-run.json"

// turn names this run, and the one before it in this folder: that is over, for one start runs in a folder, though the relay
// may not have heard it. A folder that was copied here together with its state is not the same place.
func (l *live) turn() (instance, former string, err error) {
	var run, last struct {
		Place    string `json:"place"`
		Instance string `json:"instance"`
	}
	file := filepath.Join(l.project.state, runFile)
	if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &last) == nil && last.Place == l.identity() {
		former = last.Instance
	}
	run.Place, run.Instance = l.identity(), proxy.NewInstance()
	data, err := json.Marshal(run)
	if err != nil {
		return "", "", err
	}
	return run.Instance, former, os.WriteFile(file, append(data, '\n'), 0o600)
}

// chosen are the ids of the functions of --only; nil: all.
func (l *live) chosen(m *cfn.Manifest) ([]string, error) {
	if len(l.only) == 0 {
		return nil, nil
	}
	return l.namedFunctions("--only", l.only, m)
}

func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network)
}

// identity is what other developers see.
func (l *live) identity() string {
	name := cmp.Or(l.Getenv("USER"), l.Getenv("USERNAME"))
	if current, err := user.Current(); name == "" && err == nil {
		name = current.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed machine"
	}
	return fmt.Sprintf("%s@%s:%s", name, host, l.project.root)
}

// credentialTime is how old credentials may be that do not say when they expire.
const credentialTime = 5 * time.Second

// freshCredentials gives those of the settings as they are now: tools that fetch credentials write them into the shared
// files again and again, which the SDK reads once. Those that know when they expire are renewed by their own provider.
func (l *live) freshCredentials(provider aws.CredentialsProvider) aws.CredentialsProvider {
	var mu sync.Mutex
	read := time.Now()
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		mu.Lock()
		defer mu.Unlock()
		c, err := provider.Retrieve(ctx)
		if err == nil && c.CanExpire || time.Since(read) < credentialTime {
			return c, err
		}
		again, err := l.awsConfig(ctx, l.project, l.config.Region)
		if err != nil {
			return aws.Credentials{}, err
		}
		provider, read = again.Credentials, time.Now()
		return provider.Retrieve(ctx)
	})
}

// linkState tells of the connection. What goes on for hours is said once.
func (l *live) linkState() func(proxy.State, error) {
	lost := ""
	return func(state proxy.State, err error) {
		switch state {
		case proxy.Connected:
			if lost != "" {
				l.view.Notice("Connected again.")
			}
			lost = ""
		case proxy.Disconnected:
			text := "The connection to AWS is lost; connecting again."
			var rejected *proxy.Rejected
			var problem *Problem
			switch {
			case errors.As(err, &problem):
				text = fmt.Sprintf("Not connected: %s. %s Trying again.", problem.Summary, problem.Hint)
			case errors.As(err, &rejected) && rejected.Status == 403:
				text = "Not connected: AWS refuses the credentials; they may have expired. Renew them, sst start uses the new ones by itself."
			case lost != "":
				return
			}
			if text != lost {
				l.view.Notice(text)
			}
			lost = text
		case proxy.Replaced:
			who := "Another developer"
			if present := (*proxy.PresentError)(nil); errors.As(err, &present) && present.Name != "" {
				who = present.Name
			}
			l.view.Notice(who + " has taken over; nothing arrives here any more. Ctrl-C stops.")
		}
	}
}

// offer compares what stacks.star says now with what AWS has. It is called after each reload.
func (l *live) offer(ctx context.Context, asm *cfn.Assembly) error {
	stubbed, err := l.stub(ctx, asm)
	l.watched()
	if err != nil {
		return err
	}
	against := l.deployed
	if l.running != nil {
		against = l.running
	}
	change, err := changeBetween(against, stubbed)
	if err != nil {
		return err
	}
	if l.wanted != nil {
		os.RemoveAll(l.wanted.Dir)
	}
	l.wanted = nil
	if change.empty() {
		l.next = false
		return os.RemoveAll(stubbed.Dir)
	}
	l.wanted = stubbed
	switch swap := l.running == nil && asm.Manifest.Personal && swappable(against, stubbed); {
	case swap:
		l.entered(ctx)
		return nil
	case l.auto && !change.loses():
		change.Then = "deploy"
	case l.running != nil:
		change.Then = "queue"
	default:
		change.Then = "wait"
	}
	l.view.Pending(change)
	if change.Then == "deploy" {
		l.entered(ctx)
	}
	return nil
}

// entered deploys what is wanted, or has that done after the deployment under way.
func (l *live) entered(ctx context.Context) {
	switch {
	case l.wanted == nil:
		if l.running == nil {
			l.view.Notice("Nothing to deploy: AWS has what stacks.star says.")
		}
	case l.running != nil:
		if !l.next {
			l.view.Notice("That is deployed next.")
		}
		l.next = true
	default:
		l.running, l.wanted = l.wanted, nil
		asm := l.running
		go func() { l.outcome <- l.deploy(ctx, asm) }()
	}
}

// ended takes the result of a deployment.
func (l *live) ended(ctx context.Context, err error) {
	asm := l.running
	l.running = nil
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		os.RemoveAll(l.deployed.Dir)
		l.deployed = asm
	default:
		l.tool.exit(ctx, err)
		if l.wanted == nil {
			l.wanted = asm
			l.view.Notice("Not deployed. ENTER tries again; saving stacks.star does not wait for it.")
		} else {
			os.RemoveAll(asm.Dir)
		}
	}
	if l.next && l.wanted != nil && err == nil {
		l.next = false
		l.entered(ctx)
		return
	}
	l.next = false
	switch {
	case err != nil || l.wanted == nil:
	case l.wanted.Manifest.Personal && swappable(l.deployed, l.wanted):
		l.entered(ctx)
	default:
		l.view.Notice("ENTER deploys what was saved meanwhile.")
	}
}

// farewell says what is left behind.
func (l *live) farewell() string {
	n := 0
	for _, f := range l.asm.Manifest.Functions {
		if f.Live {
			n++
		}
	}
	if n == 0 {
		return "Stopping."
	}
	return fmt.Sprintf("Stopping. Stage %s still has stubs: %s fail until sst start runs again. To put the code back: sst deploy --stage %s",
		l.project.stage, count(n, "function"), l.project.stage)
}
