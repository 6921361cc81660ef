package cmd

import "testing"

func TestParseEnv(t *testing.T) {
	for text, want := range map[string]string{
		"A=1":                           "1",
		"  export A = 1  ":              "1",
		"A=":                            "",
		"A= # nothing":                  "",
		"A=a#b":                         "a#b",
		"A=a b # c":                     "a b",
		"A='a \\n $B' # c":              `a \n $B`,
		"A=\"a\\n\\\"b\\\" \\$B\"":      "a\n\"b\" $B",
		"A=\"two\nlines\"":              "two\nlines",
		"\ufeffA=1\r\nB=2":              "1",
		"A=1\nA=2":                      "2",
		"B=x\nA=$B-${B}-${C:-d}":        "x-x-d",
		"A=$B\nB=later":                 "later",
		"A=\\$B":                        "$B",
		"A=" + quoteEnv("$x\n\"y\"'\\"): "$x\n\"y\"'\\",
	} {
		lines, problems := parseEnv(".env", text)
		if len(problems) > 0 {
			t.Errorf("parseEnv(%q): %v", text, problems)
			continue
		}
		d := &dotenv{lines: map[string][]envLine{}, process: func(string) (string, bool) { return "", false }}
		for i := len(lines) - 1; i >= 0; i-- {
			d.lines[lines[i].name] = append(d.lines[lines[i].name], lines[i])
		}
		got, problem := d.expand("A", nil)
		if problem != nil || got != want {
			t.Errorf("%q: A = %q, %v, want %q", text, got, problem, want)
		}
	}
}
