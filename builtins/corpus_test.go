package builtins

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sst/builtins/jsii"
)

var corpusFlag = flag.String("corpus", "", "run the examples of the CDK's documentation: \"all\", a number of them, or \"failures\": those of the table")

// journal is a file of JSON lines that is added to while examples run, so that a run that was ended goes on where it was.
type journal[V any] struct {
	mu   sync.Mutex
	file *os.File
	have map[string]V
}

func openJournal[V any](name string, id func(V) string) (*journal[V], error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	j := &journal[V]{file: f, have: map[string]V{}}
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return j, nil
		}
		var v V
		if json.Unmarshal(line, &v) == nil {
			j.have[id(v)] = v
		}
	}
}

func (j *journal[V]) get(id string) (V, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v, ok := j.have[id]
	return v, ok
}

func (j *journal[V]) put(id string, v V) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.have[id] = v
	_, err = j.file.Write(append(data, '\n'))
	return err
}

// corpus is a run of examples.
type corpus struct {
	meant    *journal[*meant]
	outcomes *journal[outcome] // nil: not remembered
	node     jsii.Node
	cdk      string
	done     atomic.Int64
}

func corpusFolder() (string, error) {
	base, err := os.UserCacheDir()
	return filepath.Join(base, "sst-test", "corpus"), err
}

// openCorpus opens the journals: what Node makes is kept for as long as node.js and the CDK are the same, what we make of it for
// as long as the test program is.
func openCorpus(ctx context.Context, resume bool) (*corpus, error) {
	folder, err := corpusFolder()
	if err != nil {
		return nil, err
	}
	c := &corpus{}
	if c.node, err = jsii.FindNode(os.Getenv, ""); err != nil {
		return nil, err
	}
	if c.cdk, err = testCDK(ctx); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(nodeJS + jsii.CDKVersion + fmt.Sprint(c.node.Major, meantVersion)))
	if c.meant, err = openJournal(filepath.Join(folder, "node-"+hex.EncodeToString(sum[:6])+".jsonl"), func(m *meant) string { return m.ID }); err != nil {
		return nil, err
	}
	if !resume {
		return c, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return nil, err
	}
	sum = sha256.Sum256(program)
	name := filepath.Join(folder, "ours-"+hex.EncodeToString(sum[:6])+".jsonl")
	older, err := filepath.Glob(filepath.Join(folder, "ours-*.jsonl"))
	if err != nil {
		return nil, err
	}
	for _, file := range older {
		if file != name {
			os.Remove(file)
		}
	}
	c.outcomes, err = openJournal(name, func(o outcome) string { return o.ID })
	return c, err
}

// meantVersion changes when examples are compiled in another way.
const meantVersion = 1

// run judges examples, on as many workers as there are processors, and gives their outcomes in order.
func (c *corpus) run(ctx context.Context, t testing.TB, list []*example) []outcome {
	outcomes := make([]outcome, len(list))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 4) {
		workers.Go(func() {
			base, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Error(err)
			}
			root := filepath.Join(base, "root")
			if err := os.Mkdir(root, 0o755); err != nil {
				t.Error(err)
			}
			node := &nodeRunner{node: c.node, dir: c.cdk, root: root, out: filepath.Join(base, "node")}
			defer node.close()
			ours := newOurRunner(root, filepath.Join(base, "ours"))
			defer ours.close()
			for i := range next {
				o, err := c.judge(ctx, node, ours, list[i])
				if err != nil {
					stop(err)
					continue
				}
				outcomes[i] = o
				c.done.Add(1)
			}
		})
	}
	for i := range list {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func (c *corpus) judge(ctx context.Context, node *nodeRunner, ours *ourRunner, e *example) (outcome, error) {
	if c.outcomes != nil {
		if o, ok := c.outcomes.get(e.ID); ok {
			return o, nil
		}
	}
	want, ok := c.meant.get(e.ID)
	if !ok {
		var err error
		if want, err = node.run(e); err != nil {
			return outcome{}, err
		}
		if err := c.meant.put(e.ID, want); err != nil {
			return outcome{}, err
		}
	}
	o := outcome{ID: e.ID, Verdict: notMeant, Detail: oneLine(want.Error)}
	if want.Error == "" {
		var err error
		if o, err = ours.run(ctx, e, want); err != nil {
			return outcome{}, err
		}
	}
	if c.outcomes != nil {
		return o, c.outcomes.put(e.ID, o)
	}
	return o, nil
}

// TestCorpus runs the examples, all or some: make corpus.
func TestCorpus(t *testing.T) {
	if *corpusFlag == "" {
		t.Skip("make corpus runs it")
	}
	engine(t)
	c, err := openCorpus(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	list, err := examples()
	if err != nil {
		t.Fatal(err)
	}
	switch *corpusFlag {
	case "all":
	case "failures":
		if list, err = listedFailures(list); err != nil {
			t.Fatal(err)
		}
	default:
		var n int
		if _, err := fmt.Sscan(*corpusFlag, &n); err != nil {
			t.Fatal(err)
		}
		list = spread(list, n)
	}
	began := time.Now()
	progress := time.NewTicker(20 * time.Second)
	defer progress.Stop()
	go func() {
		for range progress.C {
			fmt.Fprintf(os.Stderr, "%6d of %d, %v\n", c.done.Load(), len(list), time.Since(began).Round(time.Second))
		}
	}()
	outcomes := c.run(context.Background(), t, list)
	r := newReport(list, outcomes)
	t.Logf("%v\n%s", time.Since(began).Round(time.Second), r.summary())
	if *corpusFlag == "all" {
		if err := r.write(); err != nil {
			t.Fatal(err)
		}
		for _, g := range r.groups {
			if g.fault == ofOurs {
				t.Errorf("%d failures are ours: see %s", g.count, failuresFile)
			}
		}
		if *updateSample {
			if err := chooseSample(list, outcomes); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	t.Log(r.markdown())
}

// listedFailures are the examples that the table lists.
func listedFailures(list []*example) ([]*example, error) {
	table, err := os.ReadFile(failuresFile)
	return slices.DeleteFunc(list, func(e *example) bool { return !strings.Contains(string(table), "| `"+e.ID[:16]+"`") }), err
}

const (
	sampleFile = "testdata/corpus/sample.txt"
	sampleSize = 300
)

var updateSample = flag.Bool("corpus-sample", false, "with -corpus all: choose the examples of TestCorpusSample again")

// TestCorpusSample runs a fixed sample of the examples that come out as Node has them, spread over the modules.
func TestCorpusSample(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	engine(t)
	c, err := openCorpus(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	list, err := sample()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != sampleSize {
		t.Errorf("%s has %d examples that the CDK has too, want %d: choose others with go test ./builtins -run 'TestCorpus$' -corpus all -corpus-sample", sampleFile, len(list), sampleSize)
	}
	templates := 0
	for i, o := range c.run(context.Background(), t, list) {
		if o.Verdict != same {
			t.Errorf("%s (%s): %s: %s\n%s", o.ID, list[i].Of, o.Verdict, o.Detail, list[i].starlark())
		}
		if !o.Empty {
			templates++
		}
	}
	if templates < sampleSize/2 {
		t.Errorf("only %d of the examples have templates", templates)
	}
}

// sample reads the examples that sample.txt names.
func sample() ([]*example, error) {
	data, err := os.ReadFile(sampleFile)
	if err != nil {
		return nil, err
	}
	chosen := map[string]bool{}
	for _, id := range strings.Fields(string(data)) {
		chosen[id] = true
	}
	list, err := examples()
	return slices.DeleteFunc(list, func(e *example) bool { return !chosen[e.ID] }), err
}

// chooseSample takes of those that come out well two of three with a template, from all modules in turn.
func chooseSample(list []*example, outcomes []outcome) error {
	byID := map[string]outcome{}
	for _, o := range outcomes {
		byID[o.ID] = o
	}
	modules := [2]map[string][]string{{}, {}} // IDs by module: without a template, with one
	for _, e := range spread(list, len(list)) {
		if o := byID[e.ID]; o.Verdict == same {
			module, _, _ := strings.Cut(strings.TrimPrefix(e.Of, "aws-cdk-lib."), ".")
			i := 1
			if o.Empty {
				i = 0
			}
			modules[i][module] = append(modules[i][module], e.ID)
		}
	}
	chosen := slices.Concat(inTurn(modules[0], sampleSize/3), inTurn(modules[1], sampleSize-sampleSize/3))
	slices.Sort(chosen)
	return os.WriteFile(sampleFile, []byte(strings.Join(chosen, "\n")+"\n"), 0o644)
}

// inTurn takes n of lists, one of each and then the next of each.
func inTurn(lists map[string][]string, n int) []string {
	var taken []string
	for round := 0; len(taken) < n; round++ {
		before := len(taken)
		for _, name := range sortedKeys(lists) {
			if round < len(lists[name]) && len(taken) < n {
				taken = append(taken, lists[name][round])
			}
		}
		if len(taken) == before {
			break
		}
	}
	return taken
}

// spread takes n examples that are spread evenly over all of them, the same ones each time.
func spread(list []*example, n int) []*example {
	order := slices.Clone(list)
	key := func(e *example) uint32 { h := fnv.New32a(); h.Write([]byte(e.ID)); return h.Sum32() }
	slices.SortFunc(order, func(a, b *example) int { return int(int64(key(a)) - int64(key(b))) })
	return order[:min(n, len(order))]
}
