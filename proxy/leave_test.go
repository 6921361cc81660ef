package proxy_test

import (
	"context"
	"errors"
	"io"
	neturl "net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// deafRelays are relays that hear of no connection's end by themselves for as long as a test lasts, as the one on AWS may:
// who connects gets there through a network that loses what he says, and an API Gateway that tells of it late.
func deafRelays(t *testing.T) map[string]string {
	local := relaytest.New(t, proxy.RelayOptions{}, relaytest.Faults{})
	strict := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway}, relaytest.Faults{})
	late := func(invoke relaytest.Function) relaytest.Function {
		return func(ctx context.Context, event []byte) ([]byte, error) {
			if strings.Contains(string(event), `"DISCONNECT"`) {
				return []byte(`{"statusCode":200}`), nil
			}
			return invoke(ctx, event)
		}
	}
	router := &relaytest.Router{}
	routed := relaytest.NewGateway(t, relaytest.GatewayOptions{Function: late(router.Invoke)})
	router.Management = routed.Management
	urls := map[string]string{"local": local.URL, "apigw": strict.URL, "gateway": routed.URL}
	if _, err := exec.LookPath("node"); err != nil {
		t.Log("node is not installed: the relay function is left out")
		return urls
	}
	var function relaytest.Function
	deployed := relaytest.NewGateway(t, relaytest.GatewayOptions{Stage: "developer", Stages: []string{"stub"},
		Function: late(func(ctx context.Context, event []byte) ([]byte, error) { return function(ctx, event) })})
	function = startRelayFunction(t, startDynamo(t), strings.TrimSuffix(deployed.Management, "/developer")+"/{stage}", 2)
	urls["function"] = deployed.URL
	return urls
}

// Whoever comes right after another has left is let in: the leaving is confirmed.
func TestLeave(t *testing.T) {
	t.Parallel()
	for name, url := range deafRelays(t) {
		t.Run(name, func(t *testing.T) {
			for i, who := range []string{"ada", "grace", "joan"} {
				conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: url, Name: who, Handler: proxy.HandlerFunc(nil)})
				if err != nil {
					t.Fatalf("%d: %v", i, err)
				}
				began := time.Now()
				conn.Close()
				if took := time.Since(began); took > 900*time.Millisecond {
					t.Errorf("leaving took %v: the relay did not confirm it", took)
				}
			}
		})
	}
}

// An answer given just before the end arrives; one that nobody fetches holds the end up for a moment only.
func TestLeaveWithAnswers(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{}, relaytest.Faults{})
	tcp := relaytest.NewProxy(t, relay.Addr, 1)
	dial := func() (*proxy.Conn, chan bool) {
		begun := make(chan bool, 1)
		conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: relay.URL, Handler: proxy.HandlerFunc(func(ctx context.Context, inv *proxy.Invocation) {
			begun <- true
			<-ctx.Done()
			inv.Respond(make([]byte, 3<<20))
		})})
		if err != nil {
			t.Fatal(err)
		}
		return conn, begun
	}
	conn, begun := dial()
	s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: tcp.URL, Init: proxy.Init{Function: "f"}})
	defer s.Close()
	answers := make(chan *proxy.Response, 1)
	invoke := func() {
		r, _ := s.Invoke(context.Background(), proxy.Request{Event: []byte("1"), Deadline: time.Now().Add(5 * time.Second)})
		answers <- r
	}
	go invoke()
	<-begun
	conn.Close()
	if r := <-answers; r.FunctionError || len(r.Body) != 3<<20 {
		t.Errorf("got %s of %d bytes, want the answer", r.ErrorType, len(r.Body))
	}

	conn, begun = dial()
	go invoke()
	<-begun
	tcp.BlackHole(true)
	began := time.Now()
	conn.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("leaving took %v", took)
	}
	if r := <-answers; !r.FunctionError {
		t.Error("an answer came through a network that loses everything")
	}
}

// A run that was killed holds nobody up who comes in its place; everyone else is told of it.
func TestFormerRunKilled(t *testing.T) {
	t.Parallel()
	for name, url := range deafRelays(t) {
		t.Run(name, func(t *testing.T) {
			at, err := neturl.Parse(url)
			if err != nil {
				t.Fatal(err)
			}
			tcp := relaytest.NewProxy(t, at.Host, 1)
			former := proxy.NewInstance()
			cmd := exec.Command(os.Args[0], "-test.run=^TestEchoProcess$")
			cmd.Env = append(os.Environ(), "SST_RELAY=ws://"+tcp.Addr+at.Path, "SST_EXECUTED="+t.TempDir()+"/executed", "SST_INSTANCE="+former)
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			said := make([]byte, len("connected"))
			if _, err := io.ReadFull(out, said); err != nil || string(said) != "connected" {
				t.Fatalf("the process says %q, %v", said, err)
			}
			if !tcp.CutOne(relaytest.HalfOpen, 0) { // the relay does not see it end
				t.Fatal("the process has no connection")
			}
			cmd.Process.Kill()
			cmd.Wait()
			opts := proxy.DialOptions{URL: url, Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) { inv.Respond([]byte("second")) })}
			var present *proxy.PresentError
			if _, err := proxy.Dial(context.Background(), opts); !errors.As(err, &present) {
				t.Errorf("another place: got %v, want that somebody is connected", err)
			}
			opts.Former = former
			conn, err := proxy.Dial(context.Background(), opts)
			if err != nil {
				t.Fatalf("the same place: %v", err)
			}
			defer conn.Close()
			s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: strings.Replace(url, "/developer", "/stub", 1), Init: proxy.Init{Function: "f"}})
			defer s.Close()
			if r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte("1"), Deadline: time.Now().Add(10 * time.Second)}); err != nil || string(r.Body) != "second" {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
}
