package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// The picture in the repository is the one that the code draws, it is XML, and its parts lie inside it.
func TestArchitecture(t *testing.T) {
	want := architecture()
	got, err := os.ReadFile("architecture.svg")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("architecture.svg is stale: go run ./docs/pictures architecture")
	}
	for d := xml.NewDecoder(strings.NewReader(want)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range boxes {
		inside := false
		for _, f := range frames {
			inside = inside || b.x >= f.x && b.y >= f.y && b.x+b.w <= f.x+f.w && b.y+b.h <= f.y+f.h
		}
		if !inside {
			t.Errorf("%s is in no frame", b.id)
		}
		for _, other := range boxes {
			if b.id < other.id && b.x < other.x+other.w && other.x < b.x+b.w && b.y < other.y+other.h && other.y < b.y+b.h {
				t.Errorf("%s lies on %s", b.id, other.id)
			}
		}
	}
}
