package scan

import (
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	src := []byte("x = f(\"a\\\"b\", 'c', r'\\', 1e-5, 0xe+1) # end\r\ny=\"\"\"two\nlines\"\"\" \\\n + 'open\n")
	var got []string
	for _, tok := range Tokens(src) {
		if tok.Kind != Space {
			got = append(got, tok.Text(src))
		}
	}
	want := []string{"x", "=", "f", "(", `"a\"b"`, ",", "'c'", ",", `r'\', 1e-5, 0xe+1) # end`, "\r\n", "y", "=", "\"\"\"two\nlines\"\"\"", "\\\n", "+", "'open", "\n"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add("def f(x):\n\treturn 'a\n")
	f.Add("\"\"\"\\")
	f.Fuzz(func(t *testing.T, text string) {
		src, at := []byte(text), 0
		for _, tok := range Tokens(src) {
			if tok.Start != at || tok.End <= at {
				t.Fatalf("token %v begins not at %d", tok, at)
			}
			at = tok.End
		}
		if at != len(src) {
			t.Fatalf("%d of %d bytes", at, len(src))
		}
	})
}
