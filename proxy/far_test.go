package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// bucket is one in memory: addresses are for one use.
type bucket struct {
	url string

	mu       sync.Mutex
	objects  map[string][]byte
	next     int
	put, got int
	broken   bool
}

func newBucket(t *testing.T) *bucket {
	b := &bucket{objects: map[string][]byte{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		key := strings.TrimPrefix(r.URL.Path, "/")
		b.mu.Lock()
		defer b.mu.Unlock()
		switch {
		case b.broken:
			http.Error(w, "slow down", http.StatusServiceUnavailable)
		case r.Method == http.MethodPut:
			b.put++
			b.objects[key] = body
		default:
			b.got++
			w.Write(b.objects[key])
		}
	}))
	t.Cleanup(server.Close)
	b.url = server.URL + "/"
	return b
}

func (b *bucket) Offer(context.Context) (key, put string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	key = fmt.Sprint("in-", b.next)
	return key, b.url + key, nil
}

func (b *bucket) Fetch(_ context.Context, key string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, ok := b.objects[key]
	delete(b.objects, key)
	if !ok {
		return nil, errors.New("no such object")
	}
	return body, nil
}

func (b *bucket) Store(_ context.Context, body []byte) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		return "", errors.New("slow down")
	}
	b.next++
	key := fmt.Sprint("out-", b.next)
	b.objects[key] = body
	return b.url + key, nil
}

// Large bodies go through the bucket, sealed, and byte for byte; without it they go over the relay.
func TestStubPayloads(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
	b := newBucket(t)
	dialEchoOptions(t, proxy.DialOptions{URL: relay.URL, Token: "secret", Payloads: b})
	l, _ := startStub(t, relay.URL)
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		body := []byte("terribly-secret")
		for len(body) < n {
			body = append(body, byte(rng.Uint32()))
		}
		return body
	}
	echo := func(what string, body []byte) int64 {
		before := relay.Stats().Frames
		if a := l.invoke(t, body, 20*time.Second); a.kind != "response" || !bytes.Equal(a.body, body) {
			t.Errorf("%s: got %s %s of %d bytes, want the %d sent", what, a.kind, a.errType, len(a.body), len(body))
		}
		return relay.Stats().Frames - before
	}
	echo("small", []byte("1"))
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) { // until the first room has arrived
		echo("large", random(600_000))
		b.mu.Lock()
		put := b.put
		b.mu.Unlock()
		if put > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the stub put nothing into the bucket")
		}
	}
	if n := echo("largest", random(6<<20)); n > 100 {
		t.Errorf("6 MB took %d frames of the relay", n)
	}
	echo("compressible", bytes.Repeat([]byte("x"), 1<<20))
	b.mu.Lock()
	if b.put < 2 || b.got < 2 {
		t.Errorf("bucket: %d put, %d got", b.put, b.got)
	}
	for key, body := range b.objects {
		if bytes.Contains(body, []byte("terribly-secret")) {
			t.Errorf("%s can be read", key)
		}
		if strings.HasPrefix(key, "in-") {
			t.Errorf("%s was left behind", key)
		}
	}
	b.broken = true
	b.mu.Unlock()
	echo("without the bucket", random(600_000))
	echo("and again", random(600_000))
}
