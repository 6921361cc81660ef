package relaytest

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Payloads are bodies that a wire has been known to damage: they must arrive byte for byte.
func Payloads() map[string][]byte {
	all := map[string][]byte{
		"null":            []byte("null"),
		"one byte":        []byte("1"),
		"empty":           {},
		"not UTF-8":       {0xff, 0xfe, 0, 0x80, '\n', 0xc3},
		"separators":      []byte("\"\u2028\u2029\x00\""),
		"lone surrogates": []byte(`"\ud800 \udfff \uD83D"`),
		"numbers":         []byte(`[1e400, 9007199254740993, -0, 1.0, 1E5]`),
		"escapes":         []byte(`"` + strings.Repeat(`\u0000\"\\`, 5000) + `"`),
		"deep":            []byte(strings.Repeat("[", 1000) + strings.Repeat("]", 1000)),
		"lines":           []byte("\n{}\n\n"),
		"6 MB text":       []byte(`"` + strings.Repeat("ä\u2028", (6<<20-102)/5) + `"`),
		"6 MB random":     random(6<<20 - 100),
	}
	// Around the sizes of frames, of the data in one and of a message of API Gateway.
	for _, n := range []int{2048, 22_725, 30_999, 31_000, 31_001, 45_450, 68_175, 128<<10 - 1, 128 << 10, 128<<10 + 1} {
		all[fmt.Sprintf("%d random", n)] = random(n)
		all[fmt.Sprintf("%d text", n)] = []byte(`"` + strings.Repeat("x", n-2) + `"`)
	}
	return all
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}
