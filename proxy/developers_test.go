package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// developer is a developer's end that answers with its name, and what it is told.
type developer struct {
	conn    *proxy.Conn
	notices chan proxy.Notice
	there   chan bool  // connected
	gone    chan error // Replaced
}

func newDeveloper(t *testing.T, url, name string, takeOver bool, only ...string) (*developer, error) {
	t.Helper()
	d := &developer{notices: make(chan proxy.Notice, 20), there: make(chan bool, 20), gone: make(chan error, 1)}
	opts := developerOptions(url)
	opts.Name, opts.TakeOver, opts.Only = name, takeOver, only
	opts.OnNotice = func(n proxy.Notice) { d.notices <- n }
	opts.OnState = func(s proxy.State, err error) {
		switch s {
		case proxy.Connected:
			d.there <- true
		case proxy.Replaced:
			d.gone <- err
		}
	}
	opts.Handler = proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) { inv.Respond([]byte(name)) })
	var err error
	if d.conn, err = proxy.Dial(context.Background(), opts); err == nil {
		t.Cleanup(func() { d.conn.Close() })
	}
	return d, err
}

func (d *developer) hears(t *testing.T, want proxy.Notice) {
	t.Helper()
	select {
	case got := <-d.notices:
		if !reflect.DeepEqual(got, want) {
			t.Errorf("told %+v, want %+v", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("not told %+v", want)
	}
}

// Several developers on one stage: nobody takes anything away by accident, all are told, each function has one who runs
// it, and gets back the one before when he leaves.
func TestSeveralDevelopers(t *testing.T) {
	for name, url := range map[string]func(t *testing.T) string{
		"relay":   func(t *testing.T) string { return relaytest.New(t, proxy.RelayOptions{}, relaytest.Faults{}).URL },
		"gateway": func(t *testing.T) string { return newGateway(t, relaytest.GatewayOptions{}).URL },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := url(t)
			boxes := map[string]*proxy.Sandbox{}
			for _, f := range []string{"web/A", "web/B"} {
				s, err := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{
					URL: url, Init: proxy.Init{Function: f}, Sign: developerOptions(url).Sign,
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				boxes[f] = s
			}
			runs := func(want string) {
				t.Helper()
				var got string
				for _, f := range []string{"web/A", "web/B"} {
					r, err := boxes[f].Invoke(context.Background(), proxy.Request{Event: []byte("1")})
					if err != nil {
						t.Fatal(err)
					}
					got += fmt.Sprintf("%s %s. ", f, r.Body)
				}
				if got != want {
					t.Errorf("got %swant %s", got, want)
				}
			}
			ada, err := newDeveloper(t, url, "ada", false)
			if err != nil {
				t.Fatal(err)
			}
			runs("web/A ada. web/B ada. ")

			var present *proxy.PresentError
			if _, err := newDeveloper(t, url, "grace", false); !errors.As(err, &present) || present.Name != "ada" || present.Functions != nil {
				t.Errorf("second developer: got %v", err)
			}
			ada.hears(t, proxy.Notice{Kind: proxy.NoticeRefused, Name: "grace"})
			if _, err := newDeveloper(t, url, "grace", false, "web/B"); !errors.As(err, &present) || !reflect.DeepEqual(present.Functions, []string{"web/B"}) {
				t.Errorf("second developer of a function: got %v", err)
			}
			ada.hears(t, proxy.Notice{Kind: proxy.NoticeRefused, Name: "grace", Functions: []string{"web/B"}})

			grace, err := newDeveloper(t, url, "grace", true, "web/B")
			if err != nil {
				t.Fatal(err)
			}
			ada.hears(t, proxy.Notice{Kind: proxy.NoticeTaken, Name: "grace", Functions: []string{"web/B"}})
			runs("web/A ada. web/B grace. ")
			<-ada.there
			ada.conn.Wake() // it connects again, and does not take back what it lost
			<-ada.there
			runs("web/A ada. web/B grace. ")
			grace.conn.Close()
			ada.hears(t, proxy.Notice{Kind: proxy.NoticeReturned, Name: "grace", Functions: []string{"web/B"}})
			runs("web/A ada. web/B ada. ")

			if _, err := newDeveloper(t, url, "joan", true); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ada.gone:
				if !errors.As(err, &present) || present.Name != "joan" {
					t.Errorf("ada was told %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("ada was not told that joan took over")
			}
			runs("web/A joan. web/B joan. ")
		})
	}
}
