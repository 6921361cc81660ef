package proxy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sst/proxy"
)

// The relay function decides who runs what by the rules of Registry: both are led through the same random histories.
func TestRelayFunctionRegistry(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	script := filepath.Join(t.TempDir(), "histories.mjs")
	relay, err := filepath.Abs("relay.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(`
import readline from "node:readline"
import { join, leave, claimFor } from "file://`+relay+`"
let claims = []
for await (const line of readline.createInterface({ input: process.stdin })) {
  const step = JSON.parse(line)
  let decided
  if (step.reset) decided = { claims: [], notices: [] }
  else decided = step.leave ? leave(claims, step.leave) : join(claims, step.claim, step.takeOver, step.again)
  claims = decided.claims
  const runs = ["a", "b", "c", "d"].map(f => claimFor(claims, f)?.connection ?? "")
  console.log(JSON.stringify({ order: claims.map(c => c.connection), notices: decided.notices, refused: decided.refused ?? null, runs }))
}`), 0o644); err != nil {
		t.Fatal(err)
	}
	type claim struct {
		Connection string   `json:"connection"`
		Instance   string   `json:"instance"`
		Name       string   `json:"name"`
		Only       []string `json:"only,omitempty"`
		Former     string   `json:"former,omitempty"`
	}
	type step struct {
		Reset    bool   `json:"reset,omitempty"`
		Leave    string `json:"leave,omitempty"`
		Claim    *claim `json:"claim,omitempty"`
		TakeOver bool   `json:"takeOver"`
		Again    bool   `json:"again"`
	}
	type notice struct {
		To, Kind, Name string
		Functions      []string
	}
	type decision struct {
		Order   []string
		Notices []notice
		Refused *proxy.PresentError
		Runs    []string
	}
	rng := rand.New(rand.NewPCG(6, 7))
	var input strings.Builder
	var want []decision
	var steps []step
	registry := proxy.Registry{}
	for range 3000 {
		s := step{Reset: rng.IntN(12) == 0}
		d := decision{Order: []string{}, Notices: []notice{}, Runs: []string{}}
		var notices []proxy.Notice
		switch {
		case s.Reset:
			registry = proxy.Registry{}
		case rng.IntN(4) == 0 && len(registry) > 0:
			s.Leave = registry[rng.IntN(len(registry))].Connection
			registry, notices = registry.Leave(s.Leave)
		default:
			n := rng.IntN(5)
			c := &claim{Connection: fmt.Sprintf("c%d", rng.IntN(1000)), Instance: fmt.Sprintf("i%d", n), Name: fmt.Sprintf("dev%d", n)}
			for _, f := range []string{"a", "b", "c", "d"} {
				if rng.IntN(2) == 0 {
					c.Only = append(c.Only, f)
				}
			}
			if rng.IntN(3) == 0 {
				c.Only = nil
			}
			if rng.IntN(4) == 0 {
				c.Former = fmt.Sprintf("i%d", rng.IntN(5))
			}
			s.Claim, s.TakeOver, s.Again = c, rng.IntN(3) == 0, rng.IntN(3) == 0
			registry, notices, d.Refused = registry.Register(proxy.Claim{Connection: c.Connection, Instance: c.Instance, Name: c.Name, Only: c.Only, Former: c.Former}, s.TakeOver, s.Again)
		}
		for _, n := range notices {
			d.Notices = append(d.Notices, notice{n.Connection, n.Kind, n.Name, n.Functions})
		}
		for _, c := range registry {
			d.Order = append(d.Order, c.Connection)
		}
		for _, f := range []string{"a", "b", "c", "d"} {
			c, _ := registry.For(f)
			d.Runs = append(d.Runs, c.Connection)
		}
		line, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		input.Write(append(line, '\n'))
		steps, want = append(steps, s), append(want, d)
	}
	command := exec.Command(node, script)
	command.Stdin, command.Stderr = strings.NewReader(input.String()), os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	for i := range want {
		if !lines.Scan() {
			t.Fatalf("no answer to step %d", i)
		}
		var got decision
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want[i]) {
			about, _ := json.Marshal(steps[i])
			t.Fatalf("step %d: %s\ngot  %+v\nwant %+v", i, about, got, want[i])
		}
	}
}
