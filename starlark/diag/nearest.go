package diag

import (
	"slices"
	"strings"
	"unicode"
)

// Nearest is the known name that name was probably meant to be, "" when none
// is near. Case and underscores do not count, so "visibilityTimeout" finds
// "visibility_timeout". Of equally near names the one that shares more letters
// wins, then the first one. When none is near, the only one of which name is the last part
// is: "s3" finds "aws_s3".
func Nearest(name string, known []string) string {
	x := fold(name)
	best, bound, alike := "", (len(x)+1)/2, 0 // half of the name may be wrong
	if bound == 0 {
		return ""
	}
	for _, k := range known {
		y := fold(k)
		if d := len(x) - len(y); d > bound || -d > bound {
			continue
		}
		d, letters := distance(x, y, bound+1), shared(x, y)
		if d < bound || d == bound && best != "" && letters > alike {
			best, bound, alike = k, d, letters
			if d == 0 {
				break
			}
		}
	}
	if best == "" {
		for _, k := range known {
			if strings.HasSuffix(strings.ToLower(k), "_"+strings.ToLower(name)) {
				if best != "" {
					return ""
				}
				best = k
			}
		}
	}
	return best
}

// shared counts the letters that x and y have in common, wherever they stand.
func shared(x, y []rune) int {
	rest := slices.Clone(y)
	n := 0
	for _, r := range x {
		if i := slices.Index(rest, r); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			n++
		}
	}
	return n
}

func fold(s string) []rune {
	return []rune(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return -1
		}
		return unicode.ToLower(r)
	}, s))
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours between x and y, or any number >= bound when it is at least bound.
func distance(x, y []rune, bound int) int {
	older := make([]int, len(y)+1)
	prev := make([]int, len(y)+1)
	row := make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d := min(prev[j-1]+cost, prev[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d = min(d, older[j-2]+1)
			}
			row[j] = d
			least = min(least, d)
		}
		if least >= bound {
			return least
		}
		older, prev, row = prev, row, older
	}
	return prev[len(y)]
}
