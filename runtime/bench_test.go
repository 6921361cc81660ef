package runtime

import (
	"fmt"
	"io"
	"net/http"
	"os"
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

// quantiles reports p50 and p99 in milliseconds.
func quantiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	ms := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1000 }
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
	b.ReportMetric(0, "ns/op")
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
	quantiles(b, took)
}

// BenchmarkThroughput is many callers at once: stretch target 5,000 requests a second.
func BenchmarkThroughput(b *testing.B) {
	for _, callers := range []int{10, 50} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			p := benchProject(b)
			url := p.api() + "/"
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
			run := func(n int64) {
				var left atomic.Int64
				left.Store(n)
				var wg sync.WaitGroup
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
			}
			run(2000)
			b.ResetTimer()
			run(int64(b.N))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}

// BenchmarkSaveToServed is from the moment a handler is saved to the answer of the new code: target 110 ms p50.
func BenchmarkSaveToServed(b *testing.B) {
	p := benchProject(b)
	url := p.api() + "/"
	if err := post(http.DefaultClient, url); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		time.Sleep(300 * time.Millisecond) // a person is slower, and the spare process is ready again
		began := time.Now()
		text := fmt.Sprintf("%s\nexport const n = %d;", benchHandler, n)
		if err := os.WriteFile(p.root+"/src/a.js", []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
		if err := post(http.DefaultClient, url); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	quantiles(b, took)
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
		p.server.pool.reap(time.Now(), func(*function) bool { return true })
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
	quantiles(b, took)
}
