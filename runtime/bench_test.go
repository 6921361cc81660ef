package runtime

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sst/cfn"
)

var fillers = strings.Repeat("x", 900)

const benchHandler = `export const handler = async (event) => ({ statusCode: 200, body: JSON.stringify({ got: event.body?.length ?? 0 }) });`

func benchProject(b *testing.B) *project {
	return newProject(b, map[string]string{"src/a.js": benchHandler},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")}, cfn.Route{Key: "POST /", Function: "web/A"})
}

// quantiles reports p50 and p99 in milliseconds, each beside its target; 0 means there is none.
func quantiles(b *testing.B, took []time.Duration, p50, p99 float64) {
	slices.Sort(took)
	ms := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1000 }
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
	if p50 > 0 {
		b.ReportMetric(p50, "target-p50-ms")
	}
	if p99 > 0 {
		b.ReportMetric(p99, "target-p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// load makes n requests from some callers at once and gives how many were answered in a second.
func load(b *testing.B, url string, callers int, n int64) float64 {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	defer client.CloseIdleConnections()
	var left atomic.Int64
	left.Store(n)
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := post(client, url); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(began).Seconds()
}

func post(client *http.Client, url string) error {
	res, err := client.Post(url, "application/json", strings.NewReader(fillers))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 200 {
		return fmt.Errorf("status %d: %s %v", res.StatusCode, body, err)
	}
	return nil
}

// BenchmarkInvoke is one request of 1 KB at a time through the whole path: target p50 0.5 ms, p99 4 ms.
func BenchmarkInvoke(b *testing.B) {
	p := benchProject(b)
	url := p.api() + "/"
	for range 300 {
		if err := post(http.DefaultClient, url); err != nil {
			b.Fatal(err)
		}
	}
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := post(http.DefaultClient, url); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	quantiles(b, took, 0.5, 4)
}

// BenchmarkThroughput is many callers at once: stretch target 5,000 requests a second.
func BenchmarkThroughput(b *testing.B) {
	for _, callers := range []int{10, 50} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			url := benchProject(b).api() + "/"
			load(b, url, callers, 2000)
			b.ResetTimer()
			b.ReportMetric(load(b, url, callers, int64(b.N)), "req/s")
			b.ReportMetric(5000, "target-req/s")
		})
	}
}

// BenchmarkOffline is the same load on serverless-offline and on us, in turns: target is at least as many requests a
// second. It runs when that is installed in testdata/offline (make offline).
func BenchmarkOffline(b *testing.B) {
	folder, err := filepath.Abs(filepath.Join("..", "testdata", "offline"))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "serverless-offline")); err != nil {
		b.Skip("skipped: serverless-offline is not installed (make offline)")
	}
	theirs := startOffline(b, folder)
	ours := benchProject(b).api() + "/"
	for _, callers := range []int{1, 10, 50} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			load(b, ours, callers, 2000)
			load(b, theirs, callers, 2000)
			var us, them []float64
			for b.Loop() {
				for range 3 { // in turns, since the machine is not always equally fast
					us = append(us, load(b, ours, callers, 2000))
					them = append(them, load(b, theirs, callers, 2000))
				}
			}
			slices.Sort(us)
			slices.Sort(them)
			b.ReportMetric(us[len(us)/2], "req/s")
			b.ReportMetric(them[len(them)/2], "offline-req/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// startOffline runs the handler of the benchmarks in serverless-offline and gives its URL.
func startOffline(b *testing.B, folder string) string {
	b.Helper()
	node, root := localNode(b), b.TempDir()
	if err := os.Symlink(filepath.Join(folder, "node_modules"), filepath.Join(root, "node_modules")); err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{
		"a.mjs": benchHandler,
		"serverless.yml": `service: bench
frameworkVersion: "3"
provider: { name: aws, runtime: nodejs20.x }
plugins: [serverless-offline]
functions: { a: { handler: a.handler, events: [{ httpApi: POST / }] } }
`,
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	ports := freePorts(b, 3)
	cmd := exec.Command(node.Path, filepath.Join(folder, "node_modules/serverless/bin/serverless.js"), "offline",
		"--host", "127.0.0.1", "--httpPort", ports[0], "--lambdaPort", ports[1], "--albPort", ports[2], "--noPrependStageInUrl")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "SLS_TELEMETRY_DISABLED=1", "SLS_NOTIFICATIONS_MODE=off", "SLS_TRACKING_DISABLED=1")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	url := "http://127.0.0.1:" + ports[0] + "/"
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		err := post(http.DefaultClient, url)
		if err == nil {
			return url
		}
		if time.Since(began) > time.Minute {
			cmd.Process.Kill()
			cmd.Wait()
			b.Fatalf("serverless-offline does not answer: %v\n%s", err, &said)
		}
	}
}

func freePorts(b *testing.B, n int) []string {
	b.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

// notesHandler imports what a handler of a real project does. The packages are those that `make test` installs.
const notesHandler = `import { ulid } from "ulid";
import { z } from "zod";
const schema = z.object({ id: z.string(), got: z.number() });
export const handler = async (event) => ({ statusCode: 200, body: JSON.stringify(schema.parse({ id: ulid(), got: event.body?.length ?? 0 })) });`

// BenchmarkSaveToServed is from the moment a handler is saved to the answer of the new code.
func BenchmarkSaveToServed(b *testing.B) {
	b.Run("plain", func(b *testing.B) { saves(b, benchHandler, false, 40) })
	b.Run("packages", func(b *testing.B) { saves(b, notesHandler, true, 40) })
	b.Run("full", func(b *testing.B) { saves(b, notesHandler, false, 110) })
}

func saves(b *testing.B, handler string, layer bool, target float64) {
	p := newProject(b, map[string]string{"src/a.js": benchHandler},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")}, cfn.Route{Key: "POST /", Function: "web/A"})
	if handler == notesHandler {
		modules, err := filepath.Abs("../testdata/npm/node_modules")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(modules, "zod")); err != nil {
			b.Skip("skipped: testdata/npm is not installed")
		}
		if err := os.Symlink(modules, filepath.Join(p.root, "node_modules")); err != nil {
			b.Fatal(err)
		}
	}
	save := func(n int) time.Duration {
		began := time.Now()
		p.write("src/a.js", fmt.Sprintf("%s\nexport const n = %d;", handler, n))
		if err := post(http.DefaultClient, p.api()+"/"); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	save(-2)
	if layer {
		time.Sleep(2500 * time.Millisecond) // it is made when nobody waits for a build
	}
	save(-1)
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		time.Sleep(300 * time.Millisecond) // a person is slower, and the spare process is ready again
		took = append(took, save(n))
	}
	quantiles(b, took, target, 0)
}

// BenchmarkColdWorker is the first request to a function without a worker, its bundle built: target 150 ms.
func BenchmarkColdWorker(b *testing.B) {
	p := benchProject(b)
	url := p.api() + "/"
	if err := post(http.DefaultClient, url); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		p.server.pool.reap(0, func(*function) bool { return true })
		p.server.pool.closing.Wait()
		p.server.factory.mu.Lock()
		spare := p.server.factory.spare
		p.server.factory.spare = nil
		p.server.factory.mu.Unlock()
		if spare != nil {
			spare.stop()
		}
		began := time.Now()
		if err := post(http.DefaultClient, url); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	quantiles(b, took, 150, 0)
}
