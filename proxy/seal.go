package proxy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sealed sessions: the relay, and whoever reads its traffic or writes into it, sees ciphertext and can change nothing.
// A run of the developer's end has an X25519 key, signed by the stage's Ed25519 key, which sandboxes know; a session
// has a key of the sandbox; every frame of the session is sealed with what the two make of them.

const (
	sealInfo = "sst-live/1"
	signInfo = "sst-live/1 key\n" // before the key that is signed
	sealTag  = 16
)

// runKey is the key of one run of the developer's end.
type runKey struct {
	private *ecdh.PrivateKey
	signed  string // base64url
}

func newRunKey(stage ed25519.PrivateKey) (*runKey, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signature := ed25519.Sign(stage, append([]byte(signInfo), private.PublicKey().Bytes()...))
	return &runKey{private: private, signed: b64.EncodeToString(signature)}, nil
}

func (k *runKey) public() string { return b64.EncodeToString(k.private.PublicKey().Bytes()) }

// verifyRunKey reads the key of a developer's end and checks that it is the stage's.
func verifyRunKey(trust ed25519.PublicKey, key, signature string) (*ecdh.PublicKey, error) {
	raw, err := b64.DecodeString(key)
	if err != nil {
		return nil, fmt.Errorf("key of the developer's end: %w", err)
	}
	signed, err := b64.DecodeString(signature)
	if err != nil || !ed25519.Verify(trust, append([]byte(signInfo), raw...), signed) {
		return nil, errors.New("the key of the developer's end is not signed by the stage")
	}
	return ecdh.X25519().NewPublicKey(raw)
}

// seal seals and opens the frames of one end of a session.
type seal struct {
	public string // of the sandbox, base64url: stands in its init
	out    cipher.AEAD
	in     cipher.AEAD
	heard  uint64 // of the last frame received without a sequence number; guarded by the link's mutex
}

// newSeal makes the keys of a session from one's own private key and the other end's public one.
func newSeal(own *ecdh.PrivateKey, other *ecdh.PublicKey, session string, sandbox bool) (*seal, error) {
	secret, err := own.ECDH(other)
	if err != nil {
		return nil, err
	}
	keys, err := hkdf.Key(sha256.New, secret, []byte(session), sealInfo, 64)
	if err != nil {
		return nil, err
	}
	var aead [2]cipher.AEAD
	for i := range aead {
		block, err := aes.NewCipher(keys[32*i : 32*i+32])
		if err != nil {
			return nil, err
		}
		if aead[i], err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
	}
	if sandbox {
		return &seal{out: aead[0], in: aead[1], public: b64.EncodeToString(own.PublicKey().Bytes())}, nil
	}
	return &seal{out: aead[1], in: aead[0]}, nil
}

// newSandboxSeal makes a session's key and seals with it towards the developer's end.
func newSandboxSeal(other *ecdh.PublicKey, session string) (*seal, error) {
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newSeal(own, other, session, true)
}

func sealNonce(n uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), n)
}

// header is what the seal vouches for beside the data: all fields but to and from, which are the relay's.
func (f *Frame) header() []byte {
	return fmt.Appendf(nil, "%d\n%s\n%s\n%s\n%s\n%d\n%d\n%d\n%d\n%d\n%s\n%s\n%s\n%s\n%d", f.Version, f.Type, f.Session, f.Sandbox,
		f.ID, f.Seq, f.Ack, f.Index, f.Count, f.Credit, f.Code, f.Hash, f.Codec, f.Key, f.Nonce)
}

// close gives the sealed form of a frame for one transmission; each has a number of its own.
func (s *seal) close(f *Frame, ack, nonce uint64) *Frame {
	g := *f
	g.Ack, g.Nonce = ack, nonce
	if f.Type == typeInit {
		g.Key = s.public
	}
	g.Data = s.out.Seal(make([]byte, 0, len(f.Data)+sealTag), sealNonce(g.Nonce), f.Data, g.header())
	return &g
}

// open gives the data of a sealed frame; false when it is not of the other end.
func (s *seal) open(f *Frame) ([]byte, bool) {
	if f.Nonce == 0 {
		return nil, false
	}
	data, err := s.in.Open(nil, sealNonce(f.Nonce), f.Data, f.header())
	return data, err == nil
}
