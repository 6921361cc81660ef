package proxy

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Large bodies go through a bucket and not through the relay, where each 22 KB of them would be a message. What lies there
// is compressed and sealed with a key of its own, which travels in the session and is used once.

// Payloads is the bucket as the developer's end reaches it. Sandboxes reach it by addresses, each for one body and a while.
type Payloads interface {
	// Offer gives an address that a body may be put to (HTTP PUT), and the key that it will have.
	Offer(ctx context.Context) (key, put string, err error)
	// Fetch gives what was put under a key, and takes it away.
	Fetch(ctx context.Context, key string) ([]byte, error)
	// Store keeps a body and gives an address that reads it (HTTP GET).
	Store(ctx context.Context, body []byte) (get string, err error)
}

const (
	farBytes = 256 << 10        // bodies that are larger when compressed go through the bucket
	farTime  = 20 * time.Second // for one transfer
)

// room is the body of a room message: where the sandbox may put its next large event.
type room struct {
	Key string `json:"at"`
	Put string `json:"put"`
}

// far says where a body is and how it is opened.
type far struct {
	At   string `json:"at"`             // of an event its key, of an answer its address
	Seal string `json:"key"`            // AES-256-GCM, nonce zero
	Kind string `json:"kind,omitempty"` // of an answer: "res" or "err"
}

func farCipher(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// farSeal gives what is put into the bucket, and the key to it; nil when the body is not large.
func farSeal(body []byte) (sealed []byte, key string) {
	if len(body) <= farBytes {
		return nil, ""
	}
	packed := pack(body)
	if len(packed) <= farBytes {
		return nil, ""
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	aead, err := farCipher(secret)
	if err != nil {
		panic(err) // a key of 32 bytes
	}
	return aead.Seal(nil, make([]byte, aead.NonceSize()), packed, nil), b64.EncodeToString(secret)
}

// farOpen undoes farSeal.
func farOpen(sealed []byte, key string) ([]byte, error) {
	secret, err := b64.DecodeString(key)
	if err != nil {
		return nil, err
	}
	aead, err := farCipher(secret)
	if err != nil {
		return nil, err
	}
	packed, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed, nil)
	if err != nil {
		return nil, errors.New("the body is not what the other end put there")
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r, messageBytes+1))
	if err == nil && len(body) > messageBytes {
		err = errTooLarge
	}
	return body, err
}

// offer gives a sandbox room for its next large event.
func (c *Conn) offer(l *devLink) {
	if c.opts.Payloads == nil || !l.init.Far {
		return
	}
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		ctx, cancel := context.WithTimeout(c.ctx, farTime)
		defer cancel()
		key, put, err := c.opts.Payloads.Offer(ctx)
		if err != nil {
			c.log.Warn("no room in the bucket", "error", err) // events go over the relay
			return
		}
		data, _ := json.Marshal(room{key, put})
		l.post(typeRoom, "", data, nil)
	}()
}

// fetch reads an event that the sandbox has put into the bucket.
func (c *Conn) fetch(ctx context.Context, at *far) ([]byte, error) {
	if c.opts.Payloads == nil {
		return nil, errors.New("there is no bucket here")
	}
	ctx, cancel := context.WithTimeout(ctx, farTime)
	defer cancel()
	sealed, err := c.opts.Payloads.Fetch(ctx, at.At)
	if err != nil {
		return nil, fmt.Errorf("fetch the event: %w", err)
	}
	return farOpen(sealed, at.Seal)
}

// bring completes an invocation whose event is in the bucket; without the event it is answered here.
func (c *Conn) bring(ctx context.Context, a *attempt, at *far) bool {
	event, err := c.fetch(ctx, at)
	if err != nil {
		c.answer(a, typeErr, ErrorProtocol, errorBody(ErrorProtocol, err.Error()))
		return false
	}
	a.inv.Event = event
	c.offer(a.link)
	return true
}

// store puts a large answer into the bucket and gives the message that says so; nil when it is to go over the relay.
func (c *Conn) store(l *devLink, kind string, body []byte) []byte {
	if c.opts.Payloads == nil || !l.init.Far || kind != typeRes && kind != typeErr {
		return nil
	}
	sealed, key := farSeal(body)
	if sealed == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, farTime)
	defer cancel()
	get, err := c.opts.Payloads.Store(ctx, sealed)
	if err != nil {
		c.log.Warn("answer not put into the bucket", "error", err)
		return nil
	}
	data, _ := json.Marshal(far{At: get, Seal: key, Kind: kind})
	return data
}
